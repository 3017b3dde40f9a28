// Softplus with a gain, by a routine of our own: libm's exp and log differ between versions.
#pragma once

namespace dpr {

// Below this, ln(2) / gain could overflow float32 for x near the largest float.
inline constexpr float kMinGain = 1e-30f;

// ln(1 + exp(gain * x)) / gain for finite x and gain >= kMinGain.
//
// Evaluated in float64 with a relative error below 4e-15 and rounded to float32 once, so the result lies
// within 2^-24 * (1 + 1e-7) of the true value, relatively, or half the smallest subnormal. It is finite,
// never negative, and never decreases when x grows. Needs the FpEnvironment.
float softplus(float x, float gain);

}  // namespace dpr
