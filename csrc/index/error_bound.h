// The constants of the bounds and the rounding that keeps them safe. The derivation is in docs/kernel.md.
#pragma once

#include <cmath>
#include <cstddef>
#include <limits>

namespace dpr {

// gamma_n = n u / (1 - n u), u = 2^-24: the relative error of n roundings in float32 (Higham, Accuracy and
// Stability of Numerical Algorithms, 2nd ed., section 3.1).
inline double gamma_float32(std::size_t n) {
  const double nu = static_cast<double>(n) * 0x1p-24;
  return nu / (1.0 - nu);
}

// Roundings on the longest way through the canonical dot product: a lane's additions, then four folds.
inline std::size_t dot_roundings(std::size_t dim) { return (dim + 15) / 16 + 4; }

// kappa: the canonical dot product, a centre's dot product and the evaluation of a bound, 20 roundings.
inline double rounding_slack(std::size_t dim) { return gamma_float32(2 * dot_roundings(dim) + 20); }

// eta: gradual underflow. Each operation may lose 2^-150 besides its relative error, and what a centre's dot
// product, a coefficient of a penalty's line or a gate times phi has lost is multiplied afterwards, by no
// more than kLargestNorm.
inline float underflow_slack(std::size_t dim) { return static_cast<float>(2 * dim + 64) * 0x1p-99f; }

// The same of q_perp, under its root, where nothing is multiplied.
constexpr float kUnderflowAcross = 0x1p-140f;

// Sums of squares in float64 over fewer than 2^17 terms err by less than 2^-36 of themselves.
constexpr double kFloat64Slack = 1.0 + 0x1p-36;

// Values past the largest float come back as it: norms that large are never used (kLargestNorm below).
inline float round_up(double value) {
  if (value > static_cast<double>(std::numeric_limits<float>::max()))
    return std::numeric_limits<float>::max();
  const float nearest = static_cast<float>(value);
  return static_cast<double>(nearest) < value
             ? std::nextafter(nearest, std::numeric_limits<float>::infinity())
             : nearest;
}

inline float round_down(double value) { return -round_up(-value); }

inline bool is_covered(double value, float upper) {
  return value <= static_cast<double>(upper) || upper == std::numeric_limits<float>::max();
}

// Bounds are only evaluated between these norms, so that none overflows; beyond them the float32 scan
// answers.
constexpr float kLargestNorm = 0x1p50f;
// The same for the strength, for the gate of an away expert, and for their product.
constexpr float kLargestWeight = 0x1p20f;
// Scales of codes are never smaller, so that their inverses are finite.
constexpr float kSmallestScale = 0x1p-60f;

}  // namespace dpr
