// Saving and restoring the mode: MXCSR alone on x86-64 (fesetenv would reload x87 too), fenv elsewhere.
#include "fp_environment.h"

#ifdef DPR_X86_64
#include <xmmintrin.h>
#endif

namespace dpr {

#ifdef DPR_X86_64

namespace {
constexpr unsigned kDefaultMxcsr = 0x1f80;  // all exceptions masked, nearest, FTZ and DAZ off
}

FpEnvironment::FpEnvironment() : saved_mxcsr_(_mm_getcsr()) { _mm_setcsr(kDefaultMxcsr); }
FpEnvironment::~FpEnvironment() { _mm_setcsr(saved_mxcsr_); }

#else

FpEnvironment::FpEnvironment() : saved_() {
  std::fegetenv(&saved_);
  std::fesetenv(FE_DFL_ENV);
}
FpEnvironment::~FpEnvironment() { std::fesetenv(&saved_); }

#endif

}  // namespace dpr
