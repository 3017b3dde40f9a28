// int8 kernels for AVX2. vpmaddubsw would saturate at int16 (255 * 127 * 2 > 32767), so codes are widened to
// 16 bits first; vpmaddwd then adds two products of at most 255 * 127 in int32, exactly.
//
// Sixteen bytes are one quad of four items. Widened and multiplied they give two int32 an item, which are
// added to their neighbours only once, at the end.
#include <immintrin.h>
#include <string.h>

#include "kernels/scan_i8.h"

namespace dpr {
namespace {

constexpr size_t kItems = 4;                     // of one ymm of pair sums
constexpr size_t kYmm = kBlockItems / kItems;    // of a block
constexpr size_t kGroup = 8;                     // ymm of sums held in registers
constexpr size_t kGroupItems = kGroup * kItems;  // 32

inline __m256i broadcast_quad(const int8_t* codes) {
  int32_t quad;
  memcpy(&quad, codes, sizeof(quad));
  return _mm256_cvtepi8_epi16(_mm_set1_epi32(quad));
}

// Adds the two int32 of each item and restores the items' order.
inline __m256i fold_pairs(__m256i items_0_to_3, __m256i items_4_to_7) {
  const __m256i folded = _mm256_hadd_epi32(items_0_to_3, items_4_to_7);  // 0 1 4 5 | 2 3 6 7
  return _mm256_permute4x64_epi64(folded, 0xd8);
}

inline void sum_group(const uint8_t* part, const int8_t* codes, size_t n_quads, int32_t offset,
                      int32_t* sums) {
  __m256i pairs[kGroup];
  for (size_t r = 0; r < kGroup; ++r) pairs[r] = _mm256_setzero_si256();
  for (size_t quad = 0; quad < n_quads; ++quad) {
    const __m256i query = broadcast_quad(codes + 4 * quad);
#pragma GCC unroll 8
    for (size_t r = 0; r < kGroup; ++r) {
      const __m128i bytes =
          _mm_loadu_si128(reinterpret_cast<const __m128i*>(part + quad * kQuadBytes + 16 * r));
      pairs[r] = _mm256_add_epi32(pairs[r], _mm256_madd_epi16(_mm256_cvtepu8_epi16(bytes), query));
    }
  }
  const __m256i start = _mm256_set1_epi32(-offset);
  for (size_t r = 0; r < kGroup; r += 2) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + kItems * r),
                        _mm256_add_epi32(start, fold_pairs(pairs[r], pairs[r + 1])));
  }
}

inline void fetch(const uint8_t* codes, size_t n_quads) {
  if (codes == nullptr) return;
  for (size_t at = 0; at < n_quads * kQuadBytes; at += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(codes + at), _MM_HINT_T1);
  }
}

// Bits of 8 lanes whose sign is set.
inline uint64_t sign_bits(__m256i lanes) {
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(lanes)));
}

}  // namespace

static_assert(kYmm == 2 * kGroup, "a block is two groups");

void sum_part_i8_avx2(const uint8_t* block_part, const int8_t* codes, size_t n_quads, int32_t offset,
                      int32_t* sums) {
  sum_group(block_part, codes, n_quads, offset, sums);
  sum_group(block_part + 4 * kGroupItems, codes, n_quads, offset, sums + kGroupItems);
}

void scan_part_i8_avx2(const uint8_t* block, const CodedQueries& queries, const uint32_t* which,
                       const int32_t* thresholds, size_t n, uint64_t* masks, const uint8_t* fetched) {
  fetch(fetched, queries.n_quads[0]);
  int32_t sums[kBlockItems];
  for (size_t i = 0; i < n; ++i) {
    const size_t query = which[i];
    sum_part_i8_avx2(block, queries.codes + query * queries.stride, queries.n_quads[0],
                     queries.offsets[2 * query], sums);
    const __m256i threshold = _mm256_set1_epi32(thresholds[i]);
    uint64_t below = 0;
    for (size_t r = 0; r < kBlockItems / 8; ++r) {
      const __m256i lanes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(sums + 8 * r));
      below |= sign_bits(_mm256_cmpgt_epi32(threshold, lanes)) << (8 * r);
    }
    masks[i] = ~below;
  }
}

void scan_blocks_i8_avx2(const uint8_t* codes, size_t block_bytes, const CodedQueries& queries,
                         uint32_t query, const uint32_t* blocks, const int32_t* thresholds, size_t n,
                         const uint32_t* ahead, size_t n_ahead, uint64_t* masks) {
  // Where codes follow each other the hardware does too, and better.
  const bool no_gaps = queries.n_quads[0] * kQuadBytes == block_bytes;
  if (no_gaps && n_ahead > 0 && ahead[n_ahead - 1] - ahead[0] + 1 == n_ahead) n_ahead = 0;
  for (size_t i = 0; i < n; ++i) {
    const uint8_t* fetched = i < n_ahead ? codes + ahead[i] * block_bytes : nullptr;
    scan_part_i8_avx2(codes + blocks[i] * block_bytes, queries, &query, thresholds + i, 1, masks + i,
                      fetched);
  }
}

void scan_parts_i8_avx2(const uint8_t* block, const float* block_scales, const CodedQueries& queries,
                        const uint32_t* which, const float* thresholds, size_t n, uint64_t* masks,
                        const uint8_t* fetched) {
  fetch(fetched, queries.n_quads[0] + queries.n_quads[1]);
  int32_t first[kBlockItems];
  int32_t second[kBlockItems];
  for (size_t i = 0; i < n; ++i) {
    const size_t query = which[i];
    const int8_t* codes = queries.codes + query * queries.stride;
    sum_part_i8_avx2(block, codes, queries.n_quads[0], queries.offsets[2 * query], first);
    sum_part_i8_avx2(block + queries.n_quads[0] * kQuadBytes, codes + 4 * queries.n_quads[0],
                     queries.n_quads[1], queries.offsets[2 * query + 1], second);
    const __m256 f0 = _mm256_set1_ps(block_scales[0] * queries.scales[2 * query]);
    const __m256 f1 = _mm256_set1_ps(block_scales[1] * queries.scales[2 * query + 1]);
    const __m256 threshold = _mm256_set1_ps(thresholds[i]);
    uint64_t mask = 0;
    for (size_t r = 0; r < kBlockItems / 8; ++r) {
      const __m256i lanes0 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(first + 8 * r));
      const __m256i lanes1 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(second + 8 * r));
      const __m256 score =
          _mm256_fmadd_ps(f0, _mm256_cvtepi32_ps(lanes0), _mm256_mul_ps(f1, _mm256_cvtepi32_ps(lanes1)));
      const __m256 reaches = _mm256_cmp_ps(score, threshold, _CMP_GE_OQ);
      mask |= uint64_t{static_cast<uint32_t>(_mm256_movemask_ps(reaches))} << (8 * r);
    }
    masks[i] = mask;
  }
}

}  // namespace dpr
