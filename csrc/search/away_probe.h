// The away experts of a query against the codes of single items.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "dispatch.h"
#include "gating.h"
#include "score_rule.h"
#include "search/probe.h"

namespace dpr {

class AwayProbe {
 public:
  AwayProbe(const BlockIndex& index, const KernelTable& kernels, const SteeredQuery& steered,
            const ScoreRule& rule);

  bool is_empty() const { return vectors_.size() == 0; }

  // Clears the bits of items whose penalised bound stays below the floor; `query` is the query vector itself.
  std::uint64_t refine(std::size_t block, std::uint64_t mask, float floor, const ProbeVector& query) const;

 private:
  friend class AwayLower;

  const SteeredQuery& steered_;
  const ScoreRule& rule_;
  ProbeSet vectors_;  // negated: an upper bound on <-z, v> is a lower one on <z, v>
};

// Lower bounds on penalised scores in one block.
class AwayLower {
 public:
  AwayLower(const AwayProbe& probe, std::size_t block);

  // A lower bound on the score of slot j, whose <q, v> is at least `lower`.
  float score(std::size_t j, float lower) const;

 private:
  const AwayProbe& probe_;
  std::vector<float> projections_;  // (away experts, kBlockItems): upper bounds on <z, v>
};

}  // namespace dpr
