// The one table that names the kernels of each level.
#include "dispatch.h"

namespace dpr {
namespace {

constexpr KernelTable kScalarKernels{
    SimdLevel::kScalar,      dot_rows_f32_scalar,        dot_gather_f32_scalar,      scan_part_i8_scalar,
    scan_blocks_i8_scalar,   scan_parts_i8_scalar,       sum_part_i8_scalar,         add_bounds_scalar,
    select_at_least_scalar,  scale_sums_scalar,          take_lower_scalar,          raise_maxima_scalar,
    upper_of_queries_scalar, select_queries_part_scalar, select_queries_parts_scalar};
#ifdef DPR_X86_64
constexpr KernelTable kAvx2Kernels{
    SimdLevel::kAvx2,      dot_rows_f32_avx2,        dot_gather_f32_avx2,      scan_part_i8_avx2,
    scan_blocks_i8_avx2,   scan_parts_i8_avx2,       sum_part_i8_avx2,         add_bounds_avx2,
    select_at_least_avx2,  scale_sums_avx2,          take_lower_avx2,          raise_maxima_avx2,
    upper_of_queries_avx2, select_queries_part_avx2, select_queries_parts_avx2};
constexpr KernelTable kAvx512Kernels{SimdLevel::kAvx512Vnni,         dot_rows_f32_avx512,
                                     dot_gather_f32_avx512,          scan_part_i8_avx512vnni,
                                     scan_blocks_i8_avx512vnni,      scan_parts_i8_avx512vnni,
                                     sum_part_i8_avx512vnni,         add_bounds_avx512vnni,
                                     select_at_least_avx512vnni,     scale_sums_avx512vnni,
                                     take_lower_avx512vnni,          raise_maxima_avx512vnni,
                                     upper_of_queries_avx512vnni,    select_queries_part_avx512vnni,
                                     select_queries_parts_avx512vnni};
#endif
#ifdef DPR_AMX

// Tiles pay for batches only.
constexpr KernelTable amx_kernels() {
  KernelTable kernels = kAvx512Kernels;
  kernels.level = SimdLevel::kAmx;
  kernels.scan_part_i8 = scan_part_i8_amx;
  kernels.scan_parts_i8 = scan_parts_i8_amx;
  return kernels;
}
constexpr KernelTable kAmxKernels = amx_kernels();
#endif
#ifdef DPR_AARCH64

// NEON is part of the baseline there: what is plain loops for the scalar level is NEON code as well.
constexpr KernelTable neon_kernels() {
  KernelTable kernels = kScalarKernels;
  kernels.level = SimdLevel::kNeon;
  kernels.dot_rows_f32 = dot_rows_f32_neon;
  kernels.dot_gather_f32 = dot_gather_f32_neon;
  kernels.scan_part_i8 = scan_part_i8_neon;
  kernels.scan_blocks_i8 = scan_blocks_i8_neon;
  kernels.scan_parts_i8 = scan_parts_i8_neon;
  kernels.sum_part_i8 = sum_part_i8_neon;
  return kernels;
}
constexpr KernelTable kNeonKernels = neon_kernels();
#endif

}  // namespace

const KernelTable& kernels_for(SimdLevel level) {
  switch (level) {
#ifdef DPR_AMX
    case SimdLevel::kAmx:
      return kAmxKernels;
#endif
#ifdef DPR_X86_64
    case SimdLevel::kAvx512Vnni:
      return kAvx512Kernels;
    case SimdLevel::kAvx2:
      return kAvx2Kernels;
#endif
#ifdef DPR_AARCH64
    case SimdLevel::kNeon:
      return kNeonKernels;
#endif
    default:
      return kScalarKernels;
  }
}

}  // namespace dpr
