// The floating-point mode that the canonical arithmetic is defined in.
#pragma once

#if defined(DPR_AARCH64)
#include <cstdint>
#elif !defined(DPR_X86_64)
#include <cfenv>
#endif

namespace dpr {

// While it lives: round to nearest, gradual underflow, no traps. Afterwards: whatever the caller had.
// Other libraries of the process turn flush-to-zero on and leave it on; results must not depend on that.
// Out of line, so that no arithmetic is moved across the change of mode.
class FpEnvironment {
 public:
  FpEnvironment();
  ~FpEnvironment();
  FpEnvironment(const FpEnvironment&) = delete;
  FpEnvironment& operator=(const FpEnvironment&) = delete;

 private:
#if defined(DPR_X86_64)
  unsigned saved_mxcsr_;
#elif defined(DPR_AARCH64)
  std::uint64_t saved_fpcr_;
  std::uint64_t saved_fpsr_;
#else
  std::fenv_t saved_;
#endif
};

}  // namespace dpr
