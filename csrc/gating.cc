// A term whose gate is 0 is skipped rather than added as 0 * z, which could turn -0 into +0: with nothing to
// add, the query must keep the bits of the user vector.
#include "gating.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace dpr {
namespace {

void add_toward(const float* gates, const float* experts, const ScoreRule& rule, SteeredQuery& query) {
  const std::size_t dim = query.vector.size();
  std::vector<float> sum(dim, 0.0f);
  bool any = false;
  for (std::size_t e = 0; e < rule.n_experts(); ++e) {
    if (rule.role(e) != Role::kToward || gates[e] == 0.0f) continue;
    any = true;
    for (std::size_t d = 0; d < dim; ++d) sum[d] = std::fma(gates[e], experts[e * dim + d], sum[d]);
  }
  if (!any) return;
  for (std::size_t d = 0; d < dim; ++d) query.vector[d] = std::fma(query.strength, sum[d], query.vector[d]);
}

}  // namespace

SteeredQuery steer_query(const QueryBatch& batch, std::size_t query, const ScoreRule& rule) {
  SteeredQuery steered{std::vector<float>(batch.dim, 0.0f), {}, batch.strength[query]};
  std::copy_n(batch.user + query * batch.user_dim, batch.user_dim, steered.vector.begin());
  if (steered.strength == 0.0f) return steered;

  const float* gates = batch.gates + query * batch.n_experts;
  const float* experts = batch.experts + query * batch.n_experts * batch.dim;
  add_toward(gates, experts, rule, steered);
  if (find_not_finite(steered.vector.data(), batch.dim) != batch.dim) {
    throw std::invalid_argument(
        "query " + std::to_string(query) +
        ": user + strength * gates * experts: expected values within float32, got an overflow");
  }
  for (std::size_t e = 0; e < rule.n_experts(); ++e) {
    if (rule.role(e) != Role::kAway || gates[e] == 0.0f) continue;
    steered.away.push_back({experts + e * batch.dim, gates[e], rule.bias(e)});
  }
  return steered;
}

}  // namespace dpr
