// The block bounds for AVX-512: the same arithmetic as block_bounds_portable.h, with the choice made by
// vpcompressd in a register (its form with a memory operand is slow on Zen 4 and 5).
#include <immintrin.h>

#include "kernels/block_bounds_portable.h"

namespace dpr {
namespace {

inline uint32_t count_bits(__mmask16 mask) { return static_cast<uint32_t>(__builtin_popcount(mask)); }

template <size_t kParts>
inline __m512 upper_bounds(const BlockBounds& block, const QueryBounds& queries, size_t i) {
  __m512 upper = _mm512_set1_ps(block.underflow);
  for (size_t p = 0; p < kParts; ++p) {
    const __m512 a = _mm512_loadu_ps(queries.along[p] + i);
    const __m512 along = _mm512_max_ps(_mm512_mul_ps(_mm512_set1_ps(block.along_min[p]), a),
                                       _mm512_mul_ps(_mm512_set1_ps(block.along_max[p]), a));
    const __m512 across = _mm512_loadu_ps(queries.across[p] + i);
    const __m512 norm = _mm512_loadu_ps(queries.norm[p] + i);
    upper = _mm512_add_ps(upper, along);
    upper = _mm512_fmadd_ps(_mm512_set1_ps(block.across[p]), across, upper);
    upper = _mm512_fmadd_ps(_mm512_set1_ps(block.norm_slack[p]), norm, upper);
  }
  return upper;
}

template <size_t kParts>
inline __m512 least_sums(const BlockBounds& block, const QueryBounds& queries, size_t i, __m512 floor) {
  __m512 error = _mm512_set1_ps(block.underflow);
  for (size_t p = 0; p < kParts; ++p) {
    error = _mm512_fmadd_ps(_mm512_set1_ps(block.code_error_slack[p]), _mm512_loadu_ps(queries.norm[p] + i),
                            error);
    error = _mm512_fmadd_ps(_mm512_set1_ps(block.code_norm[p]), _mm512_loadu_ps(queries.code_error[p] + i),
                            error);
    error = _mm512_fmadd_ps(_mm512_set1_ps(block.scale[p]), _mm512_loadu_ps(queries.rounding[p] + i), error);
  }
  return _mm512_sub_ps(floor, error);
}

template <size_t kParts>
inline __mmask16 chosen(const BlockBounds& block, const QueryBounds& queries, size_t i, __m512 floor,
                        bool all) {
  if (all) return _mm512_cmp_ps_mask(floor, _mm512_set1_ps(3.4028235e38f), _CMP_LE_OQ);
  return _mm512_cmp_ps_mask(upper_bounds<kParts>(block, queries, i), floor, _CMP_GE_OQ);
}

inline __m512i places_from(size_t first) {
  const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  return _mm512_add_epi32(lanes, _mm512_set1_epi32(static_cast<int>(first)));
}

}  // namespace

void add_bounds_avx512vnni(const PartBounds& part, const uint32_t* cluster_begin, size_t n_clusters,
                           const float* along, const float* across, float norm, float* upper) {
  add_bounds_loop(part, cluster_begin, n_clusters, along, across, norm, upper);
}

size_t select_at_least_avx512vnni(const float* values, size_t n, float floor, uint32_t* places) {
  const __m512 wide_floor = _mm512_set1_ps(floor);
  size_t count = 0;
  for (size_t i = 0; i < n; i += 16) {
    const __mmask16 inside = n - i < 16 ? static_cast<__mmask16>((1u << (n - i)) - 1) : __mmask16{0xffff};
    const __mmask16 mask =
        _mm512_mask_cmp_ps_mask(inside, _mm512_maskz_loadu_ps(inside, values + i), wide_floor, _CMP_GE_OQ);
    if (mask == 0) continue;
    _mm512_storeu_si512(places + count, _mm512_maskz_compress_epi32(mask, places_from(i)));
    count += count_bits(mask);
  }
  return count;
}

void scale_sums_avx512vnni(const int32_t* sums, float factor, bool add, float* values) {
  scale_sums_loop(sums, factor, add, values);
}

void take_lower_avx512vnni(const float* of_line, uint32_t number, size_t n, float* upper, uint32_t* line) {
  take_lower_loop(of_line, number, n, upper, line);
}

void raise_maxima_avx512vnni(const float* values, float shift, float* maxima) {
  raise_maxima_loop(values, shift, maxima);
}

void upper_of_queries_avx512vnni(const BlockBounds& block, const QueryBounds& queries, size_t n_parts,
                                 float* upper) {
  for (size_t i = 0; i < queries.n; i += 16) {
    const __m512 bounds =
        n_parts == 1 ? upper_bounds<1>(block, queries, i) : upper_bounds<2>(block, queries, i);
    _mm512_storeu_ps(upper + i, bounds);
  }
}

size_t select_queries_part_avx512vnni(const BlockBounds& block, const QueryBounds& queries, bool all,
                                      uint32_t* which, int32_t* thresholds) {
  const __m512 inverse_scale = _mm512_set1_ps(block.inverse_scale);
  size_t count = 0;
  for (size_t i = 0; i < queries.n; i += 16) {
    const __m512 floor = _mm512_loadu_ps(queries.floor + i);
    const __mmask16 mask = chosen<1>(block, queries, i, floor, all);
    if (mask == 0) continue;
    const __m512 inverse = _mm512_mul_ps(inverse_scale, _mm512_loadu_ps(queries.inverse_scale + i));
    __m512 least = _mm512_mul_ps(least_sums<1>(block, queries, i, floor), inverse);
    least = _mm512_min_ps(least, _mm512_set1_ps(kSumLimit));
    least = _mm512_max_ps(least, _mm512_set1_ps(-kSumLimit));
    const __m512i sums = _mm512_cvt_roundps_epi32(least, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    _mm512_storeu_si512(which + count, _mm512_maskz_compress_epi32(mask, places_from(i)));
    _mm512_storeu_si512(thresholds + count, _mm512_maskz_compress_epi32(mask, sums));
    count += count_bits(mask);
  }
  return count;
}

size_t select_queries_parts_avx512vnni(const BlockBounds& block, const QueryBounds& queries, bool all,
                                       uint32_t* which, float* thresholds) {
  size_t count = 0;
  for (size_t i = 0; i < queries.n; i += 16) {
    const __m512 floor = _mm512_loadu_ps(queries.floor + i);
    const __mmask16 mask = chosen<2>(block, queries, i, floor, all);
    if (mask == 0) continue;
    _mm512_storeu_si512(which + count, _mm512_maskz_compress_epi32(mask, places_from(i)));
    _mm512_storeu_ps(thresholds + count,
                     _mm512_maskz_compress_ps(mask, least_sums<2>(block, queries, i, floor)));
    count += count_bits(mask);
  }
  return count;
}

}  // namespace dpr
