#include "search/penalty_lines.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "index/error_bound.h"

namespace dpr {
namespace {

constexpr double kAlphas[kPenaltyLines] = {0.0, 0.5, 1.0};

// The tangent of slope alpha meets x = 0 at beta: for softplus, slope 1/2 belongs to x = 0, where its value
// is ln 2 / gain; slope 1 is its asymptote, and relu's lines pass through 0. A little less than ln 2 is safe.
double beta(double alpha, const ScoreRule& rule) {
  if (rule.phi() == Phi::kRelu || alpha != 0.5) return 0.0;
  return 0.693147180 / double{rule.gain()};
}

double length(const float* values, std::size_t n) {
  double square = 0.0;
  for (std::size_t d = 0; d < n; ++d) square += double{values[d]} * double{values[d]};
  return std::sqrt(square) * kFloat64Slack;
}

// What the roundings of the penalty itself may amount to beside kappa: more away experts, more additions.
double rounding_factor(std::size_t n_away) { return std::max(1.0, static_cast<double>(n_away + 3) / 22.0); }

void set_line(const SteeredQuery& query, const ScoreRule& rule, double alpha, ProbeSet& probes,
              std::size_t place) {
  std::vector<double> sum(query.vector.begin(), query.vector.end());
  double offset = 0.0;
  double constants = 0.0;
  for (const AwayExpert& away : query.away) {
    const double weight = double{query.strength} * double{away.gate};
    for (std::size_t d = 0; d < sum.size(); ++d) sum[d] -= alpha * weight * double{away.vector[d]};
    offset -= weight * (alpha * double{away.bias} + beta(alpha, rule));
    const double largest_phi_0 = rule.phi() == Phi::kRelu ? 0.0 : 1.0 / double{rule.gain()};
    constants += weight * (std::fabs(double{away.bias}) + largest_phi_0);
  }
  const std::vector<float> vector(sum.begin(), sum.end());
  const double roundings = static_cast<double>(query.away.size() + 8) * 0x1p-23;
  probes.set(place, vector.data(), round_up(offset + roundings * constants));
  const Parts& parts = probes.parts();
  for (std::size_t p = 0; p < parts.count; ++p) {
    const auto length_of_part = [&](const float* values) {
      return length(values + parts.begin[p], parts.width[p]);
    };
    double norms = length_of_part(vector.data()) + length_of_part(query.vector.data());
    for (const AwayExpert& away : query.away) {
      norms += double{query.strength} * double{away.gate} * length_of_part(away.vector);
    }
    probes.widen(place, p, round_up(norms * rounding_factor(query.away.size()) * kFloat64Slack));
  }
}

}  // namespace

void set_lines(const SteeredQuery& query, const ScoreRule& rule, std::size_t n_lines, ProbeSet& probes,
               std::size_t first, std::size_t stride) {
  for (std::size_t line = 0; line < n_lines; ++line) {
    if (line == 0 || query.away.empty()) {
      probes.set(first + line * stride, query.vector.data(), 0.0f);
    } else {
      set_line(query, rule, kAlphas[line], probes, first + line * stride);
    }
  }
}

}  // namespace dpr
