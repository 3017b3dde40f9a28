// From a SIMD level to the kernels compiled for it.
#pragma once

#include "kernels/block_bounds.h"
#include "kernels/dot_f32.h"
#include "kernels/scan_i8.h"
#include "simd_level.h"

namespace dpr {

// Every pointer is set, to a kernel of `level` or, where it has none of its own, of the next lower level.
struct KernelTable {
  SimdLevel level;
  DotRowsF32* dot_rows_f32;
  DotGatherF32* dot_gather_f32;
  ScanPart* scan_part_i8;
  ScanBlocks* scan_blocks_i8;
  ScanParts* scan_parts_i8;
  SumPart* sum_part_i8;
  AddBounds* add_bounds;
  SelectAtLeast* select_at_least;
  ScaleSums* scale_sums;
  TakeLower* take_lower;
  RaiseMaxima* raise_maxima;
  UpperOfQueries* upper_of_queries;
  SelectQueriesPart* select_queries_part;
  SelectQueriesParts* select_queries_parts;
};

// `level` must be one of supported_simd_levels().
const KernelTable& kernels_for(SimdLevel level);

}  // namespace dpr
