// Gating: from user, experts, gates and strength to one steered query. Shared by every SIMD level.
#pragma once

#include <cstddef>
#include <vector>

#include "query_batch.h"
#include "score_rule.h"

namespace dpr {

struct AwayExpert {
  const float* vector;  // (dim,), inside the QueryBatch
  float gate;           // > 0
  float bias;
};

struct SteeredQuery {
  std::vector<float> vector;     // (dim,), q of docs/design.md
  std::vector<AwayExpert> away;  // experts whose penalty counts; empty when strength is 0
  float strength;
};

// Throws std::invalid_argument when q overflows float32. Needs the FpEnvironment.
SteeredQuery steer_query(const QueryBatch& batch, std::size_t query, const ScoreRule& rule);

}  // namespace dpr
