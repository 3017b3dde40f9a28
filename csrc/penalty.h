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

// An upper bound on penalised_score for an item with dot <= upper and projection m >= -negated[m].
//
// Every operation of the score is monotone, rounding included, so the score of the bounds bounds the score.
// Softplus is at least relu, bit for bit (docs/kernel.md), which costs less: softplus itself is only called
// when relu's bound reaches `floor`. negated[m] bounds the canonical dot product with -z_m from above.
float penalised_upper(float upper, const float* negated, float floor, const SteeredQuery& query,
                      const ScoreRule& rule);

}  // namespace dpr
