// Contract of the kernels that decide which blocks are read: upper bounds of blocks, in float32. Plain data.
//
// All of them evaluate, for one block and one query, with sums over the parts p (docs/kernel.md),
//     upper = sum max(along_min a, along_max a) + across r + norm_slack |q|   + underflow
//     error = sum          code_error_slack |q| + code_norm dq + scale w      + underflow
// where a, r, |q|, dq, w belong to the query and the rest to the block. Levels may round differently; the
// slack covers 20 roundings. Values are finite, below 2^120; only floors may be infinite.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kernels/scan_i8.h"

namespace dpr {

constexpr size_t kQueryLanes = 16;    // batches are padded to a multiple of this
constexpr float kSumLimit = 0x1p30f;  // above every sum of scan_i8.h; int thresholds are clamped to it

// One part of all blocks: arrays of (n_blocks,).
struct PartBounds {
  const float* scale;
  const float* code_norm;
  const float* along_min;
  const float* along_max;
  const float* across;
  const float* norm_slack;
  const float* code_error_slack;
};

// One block, both parts.
struct BlockBounds {
  float scale[2];
  float code_norm[2];
  float along_min[2];
  float along_max[2];
  float across[2];
  float norm_slack[2];
  float code_error_slack[2];
  float inverse_scale;  // of part 0
  float underflow;
};

// A batch: arrays of (n,), n a multiple of kQueryLanes; the floor of a lane that is padding is +inf.
struct QueryBounds {
  size_t n;
  const float* floor;
  const float* norm[2];
  const float* code_error[2];  // dq
  const float* rounding[2];    // w
  const float* inverse_scale;  // of part 0's codes
  const float* along[2];       // against the block's cluster
  const float* across[2];
};

// upper[b] += the terms of one part for one query. The blocks of cluster c are those of
// [cluster_begin[c], cluster_begin[c + 1]); along and across are (n_clusters,).
using AddBounds = void(const PartBounds& part, const uint32_t* cluster_begin, size_t n_clusters,
                       const float* along, const float* across, float norm, float* upper);

// Writes the places i with values[i] >= floor, ascending; returns how many. Room for n + kQueryLanes.
using SelectAtLeast = size_t(const float* values, size_t n, float floor, uint32_t* places);

// upper[i] for every lane of a batch, with one part or two.
using UpperOfQueries = void(const BlockBounds& block, const QueryBounds& queries, size_t n_parts,
                            float* upper);

// Writes the queries whose bound reaches their floor and their thresholds for scan_part_i8; returns how many.
// With `all`, every query that is not padding. Room for queries.n + kQueryLanes.
using SelectQueriesPart = size_t(const BlockBounds& block, const QueryBounds& queries, bool all,
                                 uint32_t* which, int32_t* thresholds);

// The same with both parts, thresholds for scan_parts_i8.
using SelectQueriesParts = size_t(const BlockBounds& block, const QueryBounds& queries, bool all,
                                  uint32_t* which, float* thresholds);

// values[j] = factor * sums[j], or with `add` that more, for kBlockItems items.
using ScaleSums = void(const int32_t* sums, float factor, bool add, float* values);

// Where of_line[b] < upper[b]: upper[b] = of_line[b] and line[b] = number.
using TakeLower = void(const float* of_line, uint32_t number, size_t n, float* upper, uint32_t* line);

// maxima[j] = the larger of maxima[j] and values[j] - shift, for kBlockItems items.
using RaiseMaxima = void(const float* values, float shift, float* maxima);

AddBounds add_bounds_scalar;
SelectAtLeast select_at_least_scalar;
ScaleSums scale_sums_scalar;
TakeLower take_lower_scalar;
RaiseMaxima raise_maxima_scalar;
UpperOfQueries upper_of_queries_scalar;
SelectQueriesPart select_queries_part_scalar;
SelectQueriesParts select_queries_parts_scalar;
AddBounds add_bounds_avx2;
SelectAtLeast select_at_least_avx2;
ScaleSums scale_sums_avx2;
TakeLower take_lower_avx2;
RaiseMaxima raise_maxima_avx2;
UpperOfQueries upper_of_queries_avx2;
SelectQueriesPart select_queries_part_avx2;
SelectQueriesParts select_queries_parts_avx2;
AddBounds add_bounds_avx512vnni;
SelectAtLeast select_at_least_avx512vnni;
ScaleSums scale_sums_avx512vnni;
TakeLower take_lower_avx512vnni;
RaiseMaxima raise_maxima_avx512vnni;
UpperOfQueries upper_of_queries_avx512vnni;
SelectQueriesPart select_queries_part_avx512vnni;
SelectQueriesParts select_queries_parts_avx512vnni;

}  // namespace dpr
