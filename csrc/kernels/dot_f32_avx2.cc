// Canonical dot products with AVX2 and FMA: four rows at a time, two 8-lane accumulators each, and one joint
// reduction for all of them. Compiled with -mavx2 -mfma; includes intrinsics and plain data only.
#include <immintrin.h>

#include "kernels/dot_f32.h"

namespace dpr {
namespace {

constexpr size_t kHalf = 8;  // lanes of one register, half of the 16 canonical ones
constexpr size_t kGroup = 4;

struct Sums {
  __m256 low[kGroup];   // lanes 0..7
  __m256 high[kGroup];  // lanes 8..15
};

// Rows a and b: the fold of eight, then the fold of four; [a: 4 lanes, b: 4 lanes].
inline __m256 fold_8_4(const Sums& sums, size_t a, size_t b) {
  const __m256 sum_a = _mm256_add_ps(sums.low[a], sums.high[a]);
  const __m256 sum_b = _mm256_add_ps(sums.low[b], sums.high[b]);
  return _mm256_add_ps(_mm256_permute2f128_ps(sum_a, sum_b, 0x20),
                       _mm256_permute2f128_ps(sum_a, sum_b, 0x31));
}

// Lane r of the result is the canonical sum of row r. Rows 0, 2 and 1, 3 enter as pairs, so that the last two
// folds leave them in order.
inline __m128 reduce(const Sums& sums) {
  const __m256 p = fold_8_4(sums, 0, 2);
  const __m256 q = fold_8_4(sums, 1, 3);
  const __m256 twos = _mm256_add_ps(_mm256_shuffle_ps(p, q, 0x44), _mm256_shuffle_ps(p, q, 0xee));
  const __m256 ones = _mm256_add_ps(_mm256_shuffle_ps(twos, twos, 0x88), _mm256_shuffle_ps(twos, twos, 0xdd));
  return _mm_movelh_ps(_mm256_castps256_ps128(ones), _mm256_extractf128_ps(ones, 1));
}

// Sign bit set in the first `count` of 8 lanes; count may exceed 8 or be negative.
inline __m256i first_lanes(int count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

// Lanes past the end are +0 and their memory is not touched. Both halves take part, even an empty one: adding
// +0 is part of the contract.
inline void add_tail(const float* query, const float* const* rows, size_t count, Sums& sums) {
  const __m256i low = first_lanes((int)count);
  const __m256i high = first_lanes((int)count - (int)kHalf);
  const __m256 q_low = _mm256_maskload_ps(query, low);
  const __m256 q_high = _mm256_maskload_ps(query + kHalf, high);
#pragma GCC unroll 4
  for (size_t r = 0; r < kGroup; ++r) {
    sums.low[r] = _mm256_fmadd_ps(q_low, _mm256_maskload_ps(rows[r], low), sums.low[r]);
    sums.high[r] = _mm256_fmadd_ps(q_high, _mm256_maskload_ps(rows[r] + kHalf, high), sums.high[r]);
  }
}

inline __m128 dot_group(const float* query, const float* const* rows, size_t dim) {
  Sums sums;
  for (size_t r = 0; r < kGroup; ++r) sums.low[r] = sums.high[r] = _mm256_setzero_ps();
  size_t d = 0;
  for (; d + 2 * kHalf <= dim; d += 2 * kHalf) {
    const __m256 q_low = _mm256_loadu_ps(query + d);
    const __m256 q_high = _mm256_loadu_ps(query + d + kHalf);
#pragma GCC unroll 4
    for (size_t r = 0; r < kGroup; ++r) {
      sums.low[r] = _mm256_fmadd_ps(q_low, _mm256_loadu_ps(rows[r] + d), sums.low[r]);
      sums.high[r] = _mm256_fmadd_ps(q_high, _mm256_loadu_ps(rows[r] + d + kHalf), sums.high[r]);
    }
  }
  if (d < dim) {
    const float* tails[kGroup];
    for (size_t r = 0; r < kGroup; ++r) tails[r] = rows[r] + d;
    add_tail(query + d, tails, dim - d, sums);
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
    const __m128i stored = _mm256_castsi256_si128(first_lanes((int)count));
    _mm_maskstore_ps(out + first, stored, dot_group(query, rows, dim));
  }
}

}  // namespace

void dot_rows_f32_avx2(const float* query, const float* rows, size_t n_rows, size_t dim, float* out) {
  dot_all<false>(query, rows, nullptr, n_rows, dim, out);
}

void dot_gather_f32_avx2(const float* query, const float* base, const uint32_t* index, size_t n_rows,
                         size_t dim, float* out) {
  dot_all<true>(query, base, index, n_rows, dim, out);
}

}  // namespace dpr
