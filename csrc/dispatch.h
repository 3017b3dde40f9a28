// From a SIMD level to the kernels compiled for it.
#pragma once

#include "kernels/dot_f32.h"
#include "simd_level.h"

namespace dpr {

// Every pointer is set, and all of them belong to `level`.
struct KernelTable {
  SimdLevel level;
  DotRowsF32* dot_rows_f32;
  DotGatherF32* dot_gather_f32;
};

// `level` must be one of supported_simd_levels().
const KernelTable& kernels_for(SimdLevel level);

}  // namespace dpr
