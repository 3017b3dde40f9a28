// Canonical dot products with AVX-512F: sixteen rows at a time, one 16-lane accumulator each, and one joint
// reduction for all of them. Compiled with -mavx512f; includes intrinsics and plain data only.
#include <immintrin.h>

#include "kernels/dot_f32.h"

namespace dpr {
namespace {

constexpr size_t kLanes = 16;
constexpr size_t kGroup = 16;

// The fold of eight: [a: 8 lanes, b: 8 lanes].
inline __m512 fold_8(__m512 a, __m512 b) {
  return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
}

// The fold of four, from two results of fold_8: four rows of 4 lanes.
inline __m512 fold_4(__m512 ab, __m512 cd) {
  return _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
}

// The fold of two, from two results of fold_4: in each 128-bit block 2 lanes of a row of p, 2 of a row of q.
inline __m512 fold_2(__m512 p, __m512 q) {
  return _mm512_add_ps(_mm512_shuffle_ps(p, q, 0x44), _mm512_shuffle_ps(p, q, 0xee));
}

// The last fold, from two results of fold_2: in each block one lane of each of four rows.
inline __m512 fold_1(__m512 pq, __m512 uv) {
  return _mm512_add_ps(_mm512_shuffle_ps(pq, uv, 0x88), _mm512_shuffle_ps(pq, uv, 0xdd));
}

// Rows first, first + 4, first + 8, first + 12: their 4 lanes each.
inline __m512 fold_column(const __m512* sums, size_t first) {
  return fold_4(fold_8(sums[first], sums[first + 4]), fold_8(sums[first + 8], sums[first + 12]));
}

// Lane r of the result is the canonical sum of sums[r]. Rows enter by columns of a 4 x 4 arrangement, because
// the last two folds transpose it back: no final permutation is needed.
inline __m512 reduce(const __m512* sums) {
  return fold_1(fold_2(fold_column(sums, 0), fold_column(sums, 1)),
                fold_2(fold_column(sums, 2), fold_column(sums, 3)));
}

inline __mmask16 first_lanes(size_t count) { return (__mmask16)((1u << count) - 1); }

// Asks for the same place of the next group. Sixteen streams are more than the hardware prefetcher follows:
// this is 10 to 15 % of the time when the catalogue comes from memory. The address may lie past the array; it
// is never dereferenced, and it is computed as an integer because such a pointer would not be defined.
inline void prefetch_next_group(const float* place, size_t dim) {
  _mm_prefetch((const char*)((uintptr_t)place + kGroup * dim * sizeof(float)), _MM_HINT_T0);
}

template <bool kPrefetch>
inline __m512 dot_group(const float* query, const float* const* rows, size_t dim) {
  __m512 sums[kGroup];
  for (size_t r = 0; r < kGroup; ++r) sums[r] = _mm512_setzero_ps();
  size_t d = 0;
  for (; d + kLanes <= dim; d += kLanes) {
    const __m512 q = _mm512_loadu_ps(query + d);
#pragma GCC unroll 16
    for (size_t r = 0; r < kGroup; ++r) {
      sums[r] = _mm512_fmadd_ps(q, _mm512_loadu_ps(rows[r] + d), sums[r]);
      if (kPrefetch) prefetch_next_group(rows[r] + d, dim);
    }
  }
  if (d < dim) {
    // Lanes past the end are +0 and their memory is not touched.
    const __mmask16 inside = first_lanes(dim - d);
    const __m512 q = _mm512_maskz_loadu_ps(inside, query + d);
#pragma GCC unroll 16
    for (size_t r = 0; r < kGroup; ++r) {
      sums[r] = _mm512_fmadd_ps(q, _mm512_maskz_loadu_ps(inside, rows[r] + d), sums[r]);
    }
  }
  return reduce(sums);
}

// index is null for consecutive rows. A last, shorter group repeats its last row and masks the store.
template <bool kGather>
inline void dot_all(const float* query, const float* base, const uint32_t* index, size_t n_rows, size_t dim,
                    float* out) {
  for (size_t first = 0; first < n_rows; first += kGroup) {
    const size_t count = n_rows - first < kGroup ? n_rows - first : kGroup;
    const float* rows[kGroup];
    for (size_t r = 0; r < kGroup; ++r) {
      const size_t i = first + (r < count ? r : count - 1);
      rows[r] = base + (kGather ? index[i] : i) * dim;
    }
    _mm512_mask_storeu_ps(out + first, first_lanes(count), dot_group<!kGather>(query, rows, dim));
  }
}

}  // namespace

void dot_rows_f32_avx512(const float* query, const float* rows, size_t n_rows, size_t dim, float* out) {
  dot_all<false>(query, rows, nullptr, n_rows, dim, out);
}

void dot_gather_f32_avx512(const float* query, const float* base, const uint32_t* index, size_t n_rows,
                           size_t dim, float* out) {
  dot_all<true>(query, base, index, n_rows, dim, out);
}

}  // namespace dpr
