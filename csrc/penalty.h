// The penalty of the away experts. Shared by every SIMD level.
#pragma once

#include <cstddef>

#include "gating.h"
#include "score_rule.h"

namespace dpr {

// s = dot - strength * sum over query.away of gate * phi(projection + bias), each operation rounded.
//
// projections[m * stride] is the canonical dot product of the item with query.away[m]. Without away experts
// the result is `dot` itself. The penalty is never negative, so the result never exceeds `dot`; it is NaN or
// infinite only where an operation overflows. Needs the FpEnvironment.
float penalised_score(float dot, const float* projections, std::size_t stride, const SteeredQuery& query,
                      const ScoreRule& rule);

}  // namespace dpr
