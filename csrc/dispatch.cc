// The one table that names the kernels of each level.
#include "dispatch.h"

namespace dpr {
namespace {

constexpr KernelTable kScalarKernels{
    SimdLevel::kScalar,         dot_rows_f32_scalar,        dot_gather_f32_scalar, scan_part_i8_scalar,
    scan_parts_i8_scalar,       sum_part_i8_scalar,         add_bounds_scalar,     select_at_least_scalar,
    select_queries_part_scalar, select_queries_parts_scalar};
#ifdef DPR_X86_64
constexpr KernelTable kAvx2Kernels{SimdLevel::kAvx2,         dot_rows_f32_avx2,    dot_gather_f32_avx2,
                                   scan_part_i8_avx2,        scan_parts_i8_avx2,   sum_part_i8_avx2,
                                   add_bounds_avx2,          select_at_least_avx2, select_queries_part_avx2,
                                   select_queries_parts_avx2};
constexpr KernelTable kAvx512Kernels{SimdLevel::kAvx512Vnni,         dot_rows_f32_avx512,
                                     dot_gather_f32_avx512,          scan_part_i8_avx512vnni,
                                     scan_parts_i8_avx512vnni,       sum_part_i8_avx512vnni,
                                     add_bounds_avx512vnni,          select_at_least_avx512vnni,
                                     select_queries_part_avx512vnni, select_queries_parts_avx512vnni};
#endif

}  // namespace

const KernelTable& kernels_for(SimdLevel level) {
#ifdef DPR_X86_64
  if (level == SimdLevel::kAvx512Vnni) return kAvx512Kernels;
  if (level == SimdLevel::kAvx2) return kAvx2Kernels;
#else
  static_cast<void>(level);
#endif
  return kScalarKernels;
}

}  // namespace dpr
