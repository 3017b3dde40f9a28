// The floating-point mode of the caller: out of force while an FpEnvironment lives, back afterwards.
#include <doctest.h>

#include <cstdint>
#include <initializer_list>

#include "fp_environment.h"

#ifdef DPR_X86_64
#include <xmmintrin.h>
#endif

namespace dpr::test {
namespace {

#if defined(DPR_X86_64)
constexpr std::uint64_t kFlush = 0x8040;  // results and inputs
constexpr std::uint64_t kRoundUp = 0x4000;
constexpr std::uint64_t kFlags = 0x3f;  // what happened; no mode
std::uint64_t read_mode() { return _mm_getcsr() & ~kFlags; }
void write_mode(std::uint64_t mode) { _mm_setcsr(static_cast<unsigned>(mode)); }
#elif defined(DPR_AARCH64)
constexpr std::uint64_t kFlush = 0x01000000;
constexpr std::uint64_t kRoundUp = 0x00400000;
std::uint64_t read_mode() {
  std::uint64_t mode;
  __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
  return mode;
}
void write_mode(std::uint64_t mode) { __asm__ volatile("msr fpcr, %0" : : "r"(mode)); }
#endif

#if defined(DPR_X86_64) || defined(DPR_AARCH64)

// Volatile: computed here and now, in the mode that is in force.
bool keeps_subnormals() {
  volatile float value = 0x1p-126f;
  value = value * 0.5f;
  volatile float doubled = value;
  doubled = doubled * 2.0f;
  return doubled == 0x1p-126f;
}

// The nearest float to -1/3 lies below it, the next one up above.
bool rounds_to_nearest() {
  volatile float value = -1.0f;
  value = value / 3.0f;
  return value == -0x1.555556p-2f;
}

TEST_CASE("flushing and rounding of the caller are off inside and on again outside") {
  const std::uint64_t before = read_mode();
  for (const std::uint64_t bits : {kFlush, kRoundUp, kFlush | kRoundUp}) {
    write_mode(before | bits);
    const bool outside[] = {keeps_subnormals(), rounds_to_nearest()};
    bool inside[2];
    {
      const FpEnvironment environment;
      inside[0] = keeps_subnormals();
      inside[1] = rounds_to_nearest();
    }
    const std::uint64_t after = read_mode();
    write_mode(before);
    CAPTURE(bits);
    // The mode was in force at all.
    CHECK(outside[0] == ((bits & kFlush) == 0));
    CHECK(outside[1] == ((bits & kRoundUp) == 0));
    CHECK(inside[0]);
    CHECK(inside[1]);
    CHECK(after == (before | bits));
  }
}

#endif

}  // namespace
}  // namespace dpr::test
