// Compiled once for the baseline instruction set, with contraction off: see docs/design.md.
#include "penalty.h"

#include "softplus.h"

namespace dpr {
namespace {

float relu(float x) {
  // Written so that NaN stays NaN: an overflow must not pass for "no penalty".
  return x <= 0.0f ? 0.0f : x;
}

}  // namespace

float penalised_score(float dot, const float* projections, std::size_t stride, const SteeredQuery& query,
                      const ScoreRule& rule) {
  if (query.away.empty()) return dot;
  float penalty = 0.0f;
  for (std::size_t m = 0; m < query.away.size(); ++m) {
    const float x = projections[m * stride] + query.away[m].bias;
    const float phi = rule.phi() == Phi::kRelu ? relu(x) : softplus(x, rule.gain());
    const float term = query.away[m].gate * phi;
    penalty = penalty + term;
  }
  const float scaled = query.strength * penalty;
  return dot - scaled;
}

}  // namespace dpr
