// int8 kernels for AVX-512 with VNNI: vpdpbusd adds four u8 x s8 products to an int32, exactly (the
// saturating form is vpdpbusds). A zmm holds one quad of 16 items; a block is four of them.
//
// Four queries at once keep 16 accumulators, so that each code loaded is used four times and the multiplier,
// not the loads, sets the pace.
#include <immintrin.h>
#include <string.h>

#include "kernels/scan_i8.h"

namespace dpr {
namespace {

constexpr size_t kZmm = 4;  // of a block
constexpr size_t kZmmBytes = 64;

inline __m512i broadcast_quad(const int8_t* codes) {
  int32_t quad;
  memcpy(&quad, codes, sizeof(quad));
  return _mm512_set1_epi32(quad);
}

// Asks for codes in the second-level cache: the first level waits for no more lines at once than it takes to
// read at half of what memory gives.
template <size_t kBytes>
inline void fetch(const uint8_t* codes) {
#pragma GCC unroll 8
  for (size_t at = 0; at < kBytes; at += kZmmBytes) {
    _mm_prefetch(reinterpret_cast<const char*>(codes + at), _MM_HINT_T1);
  }
}

// sums[q][r] for kQueries queries over n_quads of one part. The same part of another block, if `fetched` is
// not null, is asked for line by line: all at once, the requests would hold up the sums.
template <size_t kQueries, bool kFetch>
inline void sum_queries(const uint8_t* part, const int8_t* const* codes, size_t n_quads,
                        const int32_t* offsets, __m512i (&sums)[kQueries][kZmm], const uint8_t* fetched) {
  for (size_t q = 0; q < kQueries; ++q) {
    for (size_t r = 0; r < kZmm; ++r) sums[q][r] = _mm512_set1_epi32(-offsets[q]);
  }
  size_t quad = 0;
  if (kQueries == 1) {
    // One query has four chains of additions, too few to hide their latency: twice as many, for pairs of
    // quads.
    __m512i odd[kZmm];
    for (size_t r = 0; r < kZmm; ++r) odd[r] = _mm512_setzero_si512();
    for (; quad + 2 <= n_quads; quad += 2) {
      const __m512i first = broadcast_quad(codes[0] + 4 * quad);
      const __m512i second = broadcast_quad(codes[0] + 4 * quad + 4);
      const uint8_t* items = part + quad * kQuadBytes;
      if (kFetch) fetch<2 * kQuadBytes>(fetched + quad * kQuadBytes);
#pragma GCC unroll 4
      for (size_t r = 0; r < kZmm; ++r) {
        sums[0][r] = _mm512_dpbusd_epi32(sums[0][r], _mm512_loadu_si512(items + r * kZmmBytes), first);
        odd[r] = _mm512_dpbusd_epi32(odd[r], _mm512_loadu_si512(items + kQuadBytes + r * kZmmBytes), second);
      }
    }
    for (size_t r = 0; r < kZmm; ++r) sums[0][r] = _mm512_add_epi32(sums[0][r], odd[r]);
  }
  for (; quad < n_quads; ++quad) {
    if (kFetch) fetch<kQuadBytes>(fetched + quad * kQuadBytes);
    __m512i items[kZmm];
#pragma GCC unroll 4
    for (size_t r = 0; r < kZmm; ++r) items[r] = _mm512_loadu_si512(part + quad * kQuadBytes + r * kZmmBytes);
#pragma GCC unroll 4
    for (size_t q = 0; q < kQueries; ++q) {
      const __m512i query = broadcast_quad(codes[q] + 4 * quad);
#pragma GCC unroll 4
      for (size_t r = 0; r < kZmm; ++r) sums[q][r] = _mm512_dpbusd_epi32(sums[q][r], items[r], query);
    }
  }
}

template <size_t kQueries, bool kFetch>
inline void scan_part(const uint8_t* block, const CodedQueries& queries, const uint32_t* which,
                      const int32_t* thresholds, uint64_t* masks, const uint8_t* fetched) {
  const int8_t* codes[kQueries];
  int32_t offsets[kQueries];
  for (size_t q = 0; q < kQueries; ++q) {
    codes[q] = queries.codes + which[q] * queries.stride;
    offsets[q] = queries.offsets[2 * which[q]];
  }
  __m512i sums[kQueries][kZmm];
  sum_queries<kQueries, kFetch>(block, codes, queries.n_quads[0], offsets, sums, fetched);
#pragma GCC unroll 4
  for (size_t q = 0; q < kQueries; ++q) {
    const __m512i threshold = _mm512_set1_epi32(thresholds[q]);
    uint64_t mask = 0;
#pragma GCC unroll 4
    for (size_t r = 0; r < kZmm; ++r) {
      mask |= uint64_t{_mm512_cmpge_epi32_mask(sums[q][r], threshold)} << (16 * r);
    }
    masks[q] = mask;
  }
}

// Two parts need twice the accumulators: two queries at once.
template <size_t kQueries, bool kFetch>
inline void scan_parts(const uint8_t* block, const float* block_scales, const CodedQueries& queries,
                       const uint32_t* which, const float* thresholds, uint64_t* masks,
                       const uint8_t* fetched) {
  const int8_t* codes[2][kQueries];
  int32_t offsets[2][kQueries];
  for (size_t q = 0; q < kQueries; ++q) {
    codes[0][q] = queries.codes + which[q] * queries.stride;
    codes[1][q] = codes[0][q] + 4 * queries.n_quads[0];
    offsets[0][q] = queries.offsets[2 * which[q]];
    offsets[1][q] = queries.offsets[2 * which[q] + 1];
  }
  __m512i first[kQueries][kZmm];
  __m512i second[kQueries][kZmm];
  const size_t begin = queries.n_quads[0] * kQuadBytes;  // of the second part
  sum_queries<kQueries, kFetch>(block, codes[0], queries.n_quads[0], offsets[0], first, fetched);
  sum_queries<kQueries, kFetch>(block + begin, codes[1], queries.n_quads[1], offsets[1], second,
                                kFetch ? fetched + begin : nullptr);
#pragma GCC unroll 4
  for (size_t q = 0; q < kQueries; ++q) {
    const __m512 f0 = _mm512_set1_ps(block_scales[0] * queries.scales[2 * which[q]]);
    const __m512 f1 = _mm512_set1_ps(block_scales[1] * queries.scales[2 * which[q] + 1]);
    const __m512 threshold = _mm512_set1_ps(thresholds[q]);
    uint64_t mask = 0;
#pragma GCC unroll 4
    for (size_t r = 0; r < kZmm; ++r) {
      const __m512 part1 = _mm512_mul_ps(f1, _mm512_cvtepi32_ps(second[q][r]));
      const __m512 score = _mm512_fmadd_ps(f0, _mm512_cvtepi32_ps(first[q][r]), part1);
      mask |= uint64_t{_mm512_cmp_ps_mask(score, threshold, _CMP_GE_OQ)} << (16 * r);
    }
    masks[q] = mask;
  }
}

template <size_t kQueries>
inline void scan_part(const uint8_t* block, const CodedQueries& queries, const uint32_t* which,
                      const int32_t* thresholds, uint64_t* masks, const uint8_t* fetched) {
  if (fetched != nullptr) {
    scan_part<kQueries, true>(block, queries, which, thresholds, masks, fetched);
  } else {
    scan_part<kQueries, false>(block, queries, which, thresholds, masks, nullptr);
  }
}

template <size_t kQueries>
inline void scan_parts(const uint8_t* block, const float* block_scales, const CodedQueries& queries,
                       const uint32_t* which, const float* thresholds, uint64_t* masks,
                       const uint8_t* fetched) {
  if (fetched != nullptr) {
    scan_parts<kQueries, true>(block, block_scales, queries, which, thresholds, masks, fetched);
  } else {
    scan_parts<kQueries, false>(block, block_scales, queries, which, thresholds, masks, nullptr);
  }
}

}  // namespace

void sum_part_i8_avx512vnni(const uint8_t* block_part, const int8_t* codes, size_t n_quads, int32_t offset,
                            int32_t* sums) {
  __m512i wide[1][kZmm];
  sum_queries<1, false>(block_part, &codes, n_quads, &offset, wide, nullptr);
  for (size_t r = 0; r < kZmm; ++r) _mm512_storeu_si512(sums + 16 * r, wide[0][r]);
}

void scan_part_i8_avx512vnni(const uint8_t* block, const CodedQueries& queries, const uint32_t* which,
                             const int32_t* thresholds, size_t n, uint64_t* masks, const uint8_t* fetched) {
  size_t i = 0;
  for (; i + 4 <= n; i += 4) {
    scan_part<4>(block, queries, which + i, thresholds + i, masks + i, i == 0 ? fetched : nullptr);
  }
  if (i > 0) fetched = nullptr;
  if (n - i == 3) {
    scan_part<3>(block, queries, which + i, thresholds + i, masks + i, fetched);
  } else if (n - i == 2) {
    scan_part<2>(block, queries, which + i, thresholds + i, masks + i, fetched);
  } else if (n - i == 1) {
    scan_part<1>(block, queries, which + i, thresholds + i, masks + i, fetched);
  }
}

void scan_blocks_i8_avx512vnni(const uint8_t* codes, size_t block_bytes, const CodedQueries& queries,
                               uint32_t query, const uint32_t* blocks, const int32_t* thresholds, size_t n,
                               const uint32_t* ahead, size_t n_ahead, uint64_t* masks) {
  const bool no_gaps = queries.n_quads[0] * kQuadBytes == block_bytes;
  for (size_t i = 0; i < n; ++i) {
    const uint8_t* fetched = i < n_ahead ? codes + ahead[i] * block_bytes : nullptr;
    if (no_gaps && i > 0 && i < n_ahead && ahead[i] == ahead[i - 1] + 1) {
      // Where codes follow each other the hardware does too, and better, once it is told where.
      fetch<2 * kQuadBytes>(fetched);
      fetched = nullptr;
    }
    scan_part<1>(codes + blocks[i] * block_bytes, queries, &query, thresholds + i, masks + i, fetched);
  }
}

void scan_parts_i8_avx512vnni(const uint8_t* block, const float* block_scales, const CodedQueries& queries,
                              const uint32_t* which, const float* thresholds, size_t n, uint64_t* masks,
                              const uint8_t* fetched) {
  size_t i = 0;
  for (; i + 2 <= n; i += 2) {
    scan_parts<2>(block, block_scales, queries, which + i, thresholds + i, masks + i,
                  i == 0 ? fetched : nullptr);
  }
  if (i < n) {
    scan_parts<1>(block, block_scales, queries, which + i, thresholds + i, masks + i,
                  i == 0 ? fetched : nullptr);
  }
}

}  // namespace dpr
