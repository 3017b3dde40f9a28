// Compiled once for the baseline instruction set, with contraction off: see docs/design.md.
#include "penalty.h"

#include "softplus.h"

namespace dpr {
namespace {

float relu(float x) {
  // Written so that NaN stays NaN: an overflow must not pass for "no penalty".
  return x <= 0.0f ? 0.0f : x;
}

template <class PhiOf>
float penalised(float dot, const SteeredQuery& query, const PhiOf& phi_of) {
  if (query.away.empty()) return dot;
  float penalty = 0.0f;
  for (std::size_t m = 0; m < query.away.size(); ++m) {
    const float term = query.away[m].gate * phi_of(m);
    penalty = penalty + term;
  }
  const float scaled = query.strength * penalty;
  return dot - scaled;
}

}  // namespace

float penalised_score(float dot, const float* projections, std::size_t stride, const SteeredQuery& query,
                      const ScoreRule& rule) {
  return penalised(dot, query, [&](std::size_t m) {
    const float x = projections[m * stride] + query.away[m].bias;
    return rule.phi() == Phi::kRelu ? relu(x) : softplus(x, rule.gain());
  });
}

float penalised_upper(float upper, const float* negated, float floor, const SteeredQuery& query,
                      const ScoreRule& rule) {
  const float bound =
      penalised(upper, query, [&](std::size_t m) { return relu(query.away[m].bias - negated[m]); });
  if (rule.phi() == Phi::kRelu || bound < floor) return bound;
  return penalised(upper, query,
                   [&](std::size_t m) { return softplus(query.away[m].bias - negated[m], rule.gain()); });
}

}  // namespace dpr
