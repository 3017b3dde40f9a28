// The kernels of block_bounds.h in plain loops, for compilers to turn into the SIMD code of whichever level
// includes them. Everything has internal linkage, so that no level's copy can stand in for another's.
#pragma once

#include "kernels/block_bounds.h"

namespace dpr {
namespace {

inline float larger(float a, float b) { return a > b ? a : b; }

inline void add_bounds_loop(const PartBounds& part, const uint32_t* cluster_begin, size_t n_clusters,
                            const float* along, const float* across, float norm, float* upper) {
  for (size_t c = 0; c < n_clusters; ++c) {
    const float a = along[c];
    const float r = across[c];
    for (size_t b = cluster_begin[c]; b < cluster_begin[c + 1]; ++b) {
      upper[b] += larger(part.along_min[b] * a, part.along_max[b] * a) + part.across[b] * r +
                  part.norm_slack[b] * norm;
    }
  }
}

inline size_t select_at_least_loop(const float* values, size_t n, float floor, uint32_t* places) {
  size_t count = 0;
  for (size_t i = 0; i < n; ++i) {
    places[count] = static_cast<uint32_t>(i);
    count += values[i] >= floor;
  }
  return count;
}

inline void scale_sums_loop(const int32_t* sums, float factor, bool add, float* values) {
  for (size_t j = 0; j < kBlockItems; ++j) {
    const float value = factor * static_cast<float>(sums[j]);
    values[j] = add ? values[j] + value : value;
  }
}

inline void take_lower_loop(const float* of_line, uint32_t number, size_t n, float* upper, uint32_t* line) {
  for (size_t b = 0; b < n; ++b) {
    const bool is_less = of_line[b] < upper[b];
    upper[b] = is_less ? of_line[b] : upper[b];
    line[b] = is_less ? number : line[b];
  }
}

inline void raise_maxima_loop(const float* values, float shift, float* maxima) {
  for (size_t j = 0; j < kBlockItems; ++j) maxima[j] = larger(values[j] - shift, maxima[j]);
}

template <size_t kParts>
inline float upper_bound(const BlockBounds& block, const QueryBounds& queries, size_t i) {
  float upper = block.underflow;
  for (size_t p = 0; p < kParts; ++p) {
    const float a = queries.along[p][i];
    upper += larger(block.along_min[p] * a, block.along_max[p] * a) + block.across[p] * queries.across[p][i] +
             block.norm_slack[p] * queries.norm[p][i];
  }
  return upper;
}

template <size_t kParts>
inline float least_sum(const BlockBounds& block, const QueryBounds& queries, size_t i) {
  float error = block.underflow;
  for (size_t p = 0; p < kParts; ++p) {
    error += block.code_error_slack[p] * queries.norm[p][i] + block.code_norm[p] * queries.code_error[p][i] +
             block.scale[p] * queries.rounding[p][i];
  }
  return queries.floor[i] - error;
}

inline int32_t clamped_floor(float value) {
  value = value < kSumLimit ? value : kSumLimit;
  value = value > -kSumLimit ? value : -kSumLimit;
  const int32_t truncated = static_cast<int32_t>(value);
  return truncated - (static_cast<float>(truncated) > value ? 1 : 0);
}

inline bool is_padding(float floor) { return floor > 3.4028235e38f; }

inline void upper_of_queries_loop(const BlockBounds& block, const QueryBounds& queries, size_t n_parts,
                                  float* upper) {
  if (n_parts == 1) {
    for (size_t i = 0; i < queries.n; ++i) upper[i] = upper_bound<1>(block, queries, i);
  } else {
    for (size_t i = 0; i < queries.n; ++i) upper[i] = upper_bound<2>(block, queries, i);
  }
}

// In runs of kQueryLanes: the arithmetic of a run is SIMD code, the choice that follows is not.
inline size_t select_queries_part_loop(const BlockBounds& block, const QueryBounds& queries, bool all,
                                       uint32_t* which, int32_t* thresholds) {
  size_t count = 0;
  for (size_t start = 0; start < queries.n; start += kQueryLanes) {
    int32_t least[kQueryLanes];
    uint32_t chosen[kQueryLanes];
    for (size_t lane = 0; lane < kQueryLanes; ++lane) {
      const size_t i = start + lane;
      const float value = least_sum<1>(block, queries, i) * (block.inverse_scale * queries.inverse_scale[i]);
      least[lane] = clamped_floor(value);
      const bool reaches = all || upper_bound<1>(block, queries, i) >= queries.floor[i];
      chosen[lane] = reaches && !is_padding(queries.floor[i]);
    }
    for (size_t lane = 0; lane < kQueryLanes; ++lane) {
      which[count] = static_cast<uint32_t>(start + lane);
      thresholds[count] = least[lane];
      count += chosen[lane];
    }
  }
  return count;
}

inline size_t select_queries_parts_loop(const BlockBounds& block, const QueryBounds& queries, bool all,
                                        uint32_t* which, float* thresholds) {
  size_t count = 0;
  for (size_t start = 0; start < queries.n; start += kQueryLanes) {
    float least[kQueryLanes];
    uint32_t chosen[kQueryLanes];
    for (size_t lane = 0; lane < kQueryLanes; ++lane) {
      const size_t i = start + lane;
      least[lane] = least_sum<2>(block, queries, i);
      const bool reaches = all || upper_bound<2>(block, queries, i) >= queries.floor[i];
      chosen[lane] = reaches && !is_padding(queries.floor[i]);
    }
    for (size_t lane = 0; lane < kQueryLanes; ++lane) {
      which[count] = static_cast<uint32_t>(start + lane);
      thresholds[count] = least[lane];
      count += chosen[lane];
    }
  }
  return count;
}

}  // namespace
}  // namespace dpr
