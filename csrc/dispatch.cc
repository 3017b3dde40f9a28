// The one table that names the kernels of each level.
#include "dispatch.h"

namespace dpr {
namespace {

constexpr KernelTable kScalarKernels{SimdLevel::kScalar, dot_rows_f32_scalar, dot_gather_f32_scalar};
#ifdef DPR_X86_64
constexpr KernelTable kAvx2Kernels{SimdLevel::kAvx2, dot_rows_f32_avx2, dot_gather_f32_avx2};
constexpr KernelTable kAvx512Kernels{SimdLevel::kAvx512, dot_rows_f32_avx512, dot_gather_f32_avx512};
#endif

}  // namespace

const KernelTable& kernels_for(SimdLevel level) {
#ifdef DPR_X86_64
  if (level == SimdLevel::kAvx512) return kAvx512Kernels;
  if (level == SimdLevel::kAvx2) return kAvx2Kernels;
#else
  static_cast<void>(level);
#endif
  return kScalarKernels;
}

}  // namespace dpr
