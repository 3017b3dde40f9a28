// Saving and restoring the mode: MXCSR alone on x86-64 (fesetenv would reload x87 too), FPCR and FPSR on
// AArch64 (fesetenv leaves some of FPCR as it is, in older libraries the flushing of inputs), fenv elsewhere.
#include "fp_environment.h"

#ifdef DPR_X86_64
#include <xmmintrin.h>
#endif

namespace dpr {

#if defined(DPR_X86_64)

namespace {
constexpr unsigned kDefaultMxcsr = 0x1f80;  // all exceptions masked, nearest, FTZ and DAZ off
}

FpEnvironment::FpEnvironment() : saved_mxcsr_(_mm_getcsr()) { _mm_setcsr(kDefaultMxcsr); }
FpEnvironment::~FpEnvironment() { _mm_setcsr(saved_mxcsr_); }

#elif defined(DPR_AARCH64)

namespace {

// FPCR 0: nearest, no flushing of inputs or results, no traps.
void write_fpcr(std::uint64_t fpcr) { __asm__ volatile("msr fpcr, %0" : : "r"(fpcr) : "memory"); }

}  // namespace

FpEnvironment::FpEnvironment() : saved_fpcr_(0), saved_fpsr_(0) {
  __asm__ volatile("mrs %0, fpcr" : "=r"(saved_fpcr_));
  __asm__ volatile("mrs %0, fpsr" : "=r"(saved_fpsr_));
  write_fpcr(0);
}
FpEnvironment::~FpEnvironment() {
  write_fpcr(saved_fpcr_);
  __asm__ volatile("msr fpsr, %0" : : "r"(saved_fpsr_) : "memory");
}

#else

FpEnvironment::FpEnvironment() : saved_() {
  std::fegetenv(&saved_);
  std::fesetenv(FE_DFL_ENV);
}
FpEnvironment::~FpEnvironment() { std::fesetenv(&saved_); }

#endif

}  // namespace dpr
