// Linear functions of an item that no penalised score exceeds. phi is convex: phi(x) >= alpha x + beta for
// each of its tangents, so with the penalty on the away side
//     s = <q, v> - S sum g phi(<z, v> + b)  <=  <q - alpha S sum g z, v> - S sum g (alpha b + beta).
// A block's bound on the right is the bound on one dot product, in which what q and z share cancels; bounding
// <q, v> and <z, v> apart and subtracting would add up what neither bound knows. Rejecting one's own
// favourite cluster read 76 % of a million items' blocks that way.
#pragma once

#include <cstddef>

#include "gating.h"
#include "score_rule.h"
#include "search/probe.h"

namespace dpr {

// alpha = 0 (the query alone), 1/2 and 1.
constexpr std::size_t kPenaltyLines = 3;

// One line without away experts, kPenaltyLines with them.
inline std::size_t count_lines(const SteeredQuery& query) { return query.away.empty() ? 1 : kPenaltyLines; }

// The lines of one query among the probes; line 0 is the query vector itself.
struct QueryLines {
  const ProbeSet& probes;
  std::size_t first;
  std::size_t stride;
  std::size_t count;

  const ProbeVector& operator[](std::size_t line) const { return probes[first + line * stride]; }
  const ProbeVector& query() const { return probes[first]; }
};

// Sets line l of the query at place first + l * stride of the probes, for l < n_lines. Without away experts
// all lines are the query.
void set_lines(const SteeredQuery& query, const ScoreRule& rule, std::size_t n_lines, ProbeSet& probes,
               std::size_t first, std::size_t stride);

}  // namespace dpr
