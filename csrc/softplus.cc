// Softplus from +, -, *, / and one bit operation, so that every machine gives the same bits.
//
// Let t = gain * x, exact in float64. Neighbouring floats x differ by at least 2^-24 relatively, and so do
// their t. Why the result never decreases: where |t| >= 2^-6 the function's own step between neighbours is at
// least 2^-31 of its value, far above the evaluation error of 2^-47. Where |t| < 2^-6 the function is ln 2 +
// u(t); u is evaluated with a relative error of 2^-50 against relative steps of 2^-25, so the computed u is
// monotone, and a correctly rounded sum, quotient and conversion of a monotone value are monotone.
#include "softplus.h"

#include <cstdint>
#include <cstring>

namespace dpr {
namespace {

constexpr double kLn2 = 0x1.62e42fefa39efp-1;
constexpr double kSmall = 0x1p-6;
constexpr double kLinearAbove = 40.0;  // there log1p(exp(-t)) < 5e-18, less than half an ulp of t
constexpr double kZeroBelow = -700.0;  // exp(-700) / kMinGain is far below the smallest subnormal float

// 2^k for k in the range of normal doubles.
double power_of_two(int k) {
  const std::uint64_t bits = static_cast<std::uint64_t>(k + 1023) << 52;
  double result;
  std::memcpy(&result, &bits, sizeof(result));
  return result;
}

// exp(t) for t in [-700, 0]: t = k ln 2 + r with |r| <= 0.35, then Taylor to r^13 (remainder below 5e-18).
double exp_negative(double t) {
  // ln 2 in two parts; the high one has 32 significant bits, so k * high is exact.
  constexpr double kLn2High = 0x1.62e42feep-1;
  constexpr double kLn2Low = 0x1.a39ef35793c76p-33;
  constexpr double kInverseLn2 = 0x1.71547652b82fep+0;
  const int k = static_cast<int>(t * kInverseLn2 - 0.5);
  const double r = (t - k * kLn2High) - k * kLn2Low;
  constexpr double kInverseFactorial[] = {1.0,
                                          1.0,
                                          1.0 / 2,
                                          1.0 / 6,
                                          1.0 / 24,
                                          1.0 / 120,
                                          1.0 / 720,
                                          1.0 / 5040,
                                          1.0 / 40320,
                                          1.0 / 362880,
                                          1.0 / 3628800,
                                          1.0 / 39916800,
                                          1.0 / 479001600,
                                          1.0 / 6227020800};
  double sum = 0.0;
  for (int n = 13; n >= 0; --n) sum = sum * r + kInverseFactorial[n];
  return sum * power_of_two(k);
}

// log(1 + u) for u in [0, 1] as 2 atanh(u / (2 + u)): the argument is at most 1/3, all terms are positive,
// and a tiny u keeps its relative accuracy. The first term left out is below 1e-18 of the sum.
double log1p_unit(double u) {
  const double s = u / (2.0 + u);
  const double square = s * s;
  double sum = 0.0;
  for (int n = 35; n >= 1; n -= 2) sum = sum * square + 1.0 / n;
  return 2.0 * s * sum;
}

// ln(1 + exp(t)) near 0: ln 2 + t/2 + t^2/8 - t^4/192 + t^6/2880; the next term is below 1e-19.
double log1p_exp_small(double t) {
  const double square = t * t;
  const double even = square * (1.0 / 8 + square * (-1.0 / 192 + square * (1.0 / 2880)));
  return kLn2 + (0.5 * t + even);
}

double log1p_exp(double t) {
  if (t != t) return t;  // an overflow upstream; the conversion to int below is not defined for it
  if (t > kLinearAbove) return t;
  if (t < kZeroBelow) return 0.0;
  if (t > -kSmall && t < kSmall) return log1p_exp_small(t);
  return t > 0.0 ? t + log1p_unit(exp_negative(-t)) : log1p_unit(exp_negative(t));
}

}  // namespace

float softplus(float x, float gain) {
  const double t = static_cast<double>(gain) * static_cast<double>(x);
  return static_cast<float>(log1p_exp(t) / static_cast<double>(gain));
}

}  // namespace dpr
