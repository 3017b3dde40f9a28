// The block bounds for AVX2: the same arithmetic as block_bounds_portable.h, with the choice made by
// permuting the chosen lanes to the front.
#include <immintrin.h>

#include "kernels/block_bounds_portable.h"

namespace dpr {
namespace {

constexpr size_t kLanes = 8;

// For each set of lanes their numbers, ascending, a byte each; what follows them does not matter.
struct LanesOfMask {
  uint64_t lanes[1 << kLanes];
};

constexpr LanesOfMask list_lanes() {
  LanesOfMask table{};
  for (size_t mask = 0; mask < (1 << kLanes); ++mask) {
    size_t count = 0;
    for (size_t lane = 0; lane < kLanes; ++lane) {
      if ((mask >> lane & 1) != 0) table.lanes[mask] |= uint64_t{lane} << (8 * count++);
    }
  }
  return table;
}

constexpr LanesOfMask kLanesOfMask = list_lanes();

// The lanes of a mask, in front.
inline __m256i lanes_of(uint32_t mask) {
  return _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<long long>(kLanesOfMask.lanes[mask])));
}

inline uint32_t count_bits(uint32_t mask) { return static_cast<uint32_t>(__builtin_popcount(mask)); }

inline uint32_t mask_of(__m256 lanes) { return static_cast<uint32_t>(_mm256_movemask_ps(lanes)); }

inline void store_places(uint32_t* to, size_t first, __m256i lanes) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                      _mm256_add_epi32(lanes, _mm256_set1_epi32(static_cast<int>(first))));
}

template <size_t kParts>
inline __m256 upper_bounds(const BlockBounds& block, const QueryBounds& queries, size_t i) {
  __m256 upper = _mm256_set1_ps(block.underflow);
#pragma GCC unroll 2
  for (size_t p = 0; p < kParts; ++p) {
    const __m256 a = _mm256_loadu_ps(queries.along[p] + i);
    const __m256 along = _mm256_max_ps(_mm256_mul_ps(_mm256_set1_ps(block.along_min[p]), a),
                                       _mm256_mul_ps(_mm256_set1_ps(block.along_max[p]), a));
    upper = _mm256_add_ps(upper, along);
    upper = _mm256_fmadd_ps(_mm256_set1_ps(block.across[p]), _mm256_loadu_ps(queries.across[p] + i), upper);
    upper = _mm256_fmadd_ps(_mm256_set1_ps(block.norm_slack[p]), _mm256_loadu_ps(queries.norm[p] + i), upper);
  }
  return upper;
}

template <size_t kParts>
inline __m256 least_sums(const BlockBounds& block, const QueryBounds& queries, size_t i, __m256 floor) {
  __m256 error = _mm256_set1_ps(block.underflow);
#pragma GCC unroll 2
  for (size_t p = 0; p < kParts; ++p) {
    error = _mm256_fmadd_ps(_mm256_set1_ps(block.code_error_slack[p]), _mm256_loadu_ps(queries.norm[p] + i),
                            error);
    error = _mm256_fmadd_ps(_mm256_set1_ps(block.code_norm[p]), _mm256_loadu_ps(queries.code_error[p] + i),
                            error);
    error = _mm256_fmadd_ps(_mm256_set1_ps(block.scale[p]), _mm256_loadu_ps(queries.rounding[p] + i), error);
  }
  return _mm256_sub_ps(floor, error);
}

template <size_t kParts>
inline uint32_t chosen(const BlockBounds& block, const QueryBounds& queries, size_t i, __m256 floor,
                       bool all) {
  if (all) return mask_of(_mm256_cmp_ps(floor, _mm256_set1_ps(3.4028235e38f), _CMP_LE_OQ));
  return mask_of(_mm256_cmp_ps(upper_bounds<kParts>(block, queries, i), floor, _CMP_GE_OQ));
}

}  // namespace

void add_bounds_avx2(const PartBounds& part, const uint32_t* cluster_begin, size_t n_clusters,
                     const float* along, const float* across, float norm, float* upper) {
  add_bounds_loop(part, cluster_begin, n_clusters, along, across, norm, upper);
}

size_t select_at_least_avx2(const float* values, size_t n, float floor, uint32_t* places) {
  const __m256 wide_floor = _mm256_set1_ps(floor);
  size_t count = 0;
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const uint32_t mask = mask_of(_mm256_cmp_ps(_mm256_loadu_ps(values + i), wide_floor, _CMP_GE_OQ));
    if (mask == 0) continue;
    store_places(places + count, i, lanes_of(mask));
    count += count_bits(mask);
  }
  for (; i < n; ++i) {
    places[count] = static_cast<uint32_t>(i);
    count += values[i] >= floor;
  }
  return count;
}

void scale_sums_avx2(const int32_t* sums, float factor, bool add, float* values) {
  scale_sums_loop(sums, factor, add, values);
}

void take_lower_avx2(const float* of_line, uint32_t number, size_t n, float* upper, uint32_t* line) {
  take_lower_loop(of_line, number, n, upper, line);
}

void raise_maxima_avx2(const float* values, float shift, float* maxima) {
  raise_maxima_loop(values, shift, maxima);
}

void upper_of_queries_avx2(const BlockBounds& block, const QueryBounds& queries, size_t n_parts,
                           float* upper) {
  for (size_t i = 0; i < queries.n; i += kLanes) {
    const __m256 bounds =
        n_parts == 1 ? upper_bounds<1>(block, queries, i) : upper_bounds<2>(block, queries, i);
    _mm256_storeu_ps(upper + i, bounds);
  }
}

size_t select_queries_part_avx2(const BlockBounds& block, const QueryBounds& queries, bool all,
                                uint32_t* which, int32_t* thresholds) {
  const __m256 inverse_scale = _mm256_set1_ps(block.inverse_scale);
  size_t count = 0;
  for (size_t i = 0; i < queries.n; i += kLanes) {
    const __m256 floor = _mm256_loadu_ps(queries.floor + i);
    const uint32_t mask = chosen<1>(block, queries, i, floor, all);
    if (mask == 0) continue;
    const __m256 inverse = _mm256_mul_ps(inverse_scale, _mm256_loadu_ps(queries.inverse_scale + i));
    __m256 least = _mm256_mul_ps(least_sums<1>(block, queries, i, floor), inverse);
    least = _mm256_min_ps(least, _mm256_set1_ps(kSumLimit));
    least = _mm256_max_ps(least, _mm256_set1_ps(-kSumLimit));
    const __m256i sums = _mm256_cvttps_epi32(_mm256_floor_ps(least));
    const __m256i lanes = lanes_of(mask);
    store_places(which + count, i, lanes);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(thresholds + count),
                        _mm256_permutevar8x32_epi32(sums, lanes));
    count += count_bits(mask);
  }
  return count;
}

size_t select_queries_parts_avx2(const BlockBounds& block, const QueryBounds& queries, bool all,
                                 uint32_t* which, float* thresholds) {
  size_t count = 0;
  for (size_t i = 0; i < queries.n; i += kLanes) {
    const __m256 floor = _mm256_loadu_ps(queries.floor + i);
    const uint32_t mask = chosen<2>(block, queries, i, floor, all);
    if (mask == 0) continue;
    const __m256i lanes = lanes_of(mask);
    store_places(which + count, i, lanes);
    const __m256 least = least_sums<2>(block, queries, i, floor);
    _mm256_storeu_ps(thresholds + count, _mm256_permutevar8x32_ps(least, lanes));
    count += count_bits(mask);
  }
  return count;
}

}  // namespace dpr
