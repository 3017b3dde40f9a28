// int8 kernels for AVX2. vpmaddubsw multiplies u8 by s8 and adds two products, saturating at int16. It never
// gets that far where a pair of query codes is of opposite sign or adds up to 128 at most in size; other
// pairs are split into halves, multiplied one after the other. Of a query of normal numbers that is one quad
// in seven.
//
// Sums of pairs do not fit int16. vpmaddwd would widen them, but multiplies once more, and Zen 1, where this
// was measured, has one multiplier. So each lane keeps two sums: of the pairs modulo 2^16, and of the pairs'
// upper bytes, which tells the multiple of 2^16 that the first lacks. Two queries that share each load of
// codes take as long as one after the other.
#include <immintrin.h>
#include <string.h>

#include "kernels/scan_i8.h"

namespace dpr {
namespace {

constexpr size_t kItems = 8;  // of a ymm of codes
constexpr size_t kYmmBytes = 32;
constexpr size_t kYmm = kBlockItems / kItems;       // of a quad of a block
constexpr size_t kGroup = 4;                        // ymm whose sums are held in registers, two each
constexpr size_t kGroupBytes = kGroup * kYmmBytes;  // of a quad
constexpr size_t kGroups = kYmm / kGroup;           // of a block
constexpr size_t kLine = 64;                        // bytes
constexpr int32_t kLargestPair = 128;               // 255 * 128 < 2^15; two halves of a code are 64 at most

// Quads that are summed in 16 bits, each once or, where it is split, twice: upper bytes lie in [-128, 127],
// and what they leave of a pair in [0, 255].
constexpr size_t kChunk = 64;
static_assert(2 * kChunk * 255 < 32768, "both sums of bytes fit int16");

// A chunk of a query's codes as the sum of two terms, none of whose pairs saturates.
struct SplitCodes {
  alignas(kYmmBytes) int8_t first[4 * kChunk];
  alignas(kYmmBytes) int8_t second[4 * kChunk];
  uint64_t has_second;  // bit i: quad i does
};

inline __m256i load(const void* bytes) { return _mm256_loadu_si256(static_cast<const __m256i*>(bytes)); }

inline void store(void* bytes, __m256i values) { _mm256_storeu_si256(static_cast<__m256i*>(bytes), values); }

inline __m256i broadcast_quad(const int8_t* codes) {
  int32_t quad;
  memcpy(&quad, codes, sizeof(quad));
  return _mm256_set1_epi32(quad);
}

// Eight quads; past the n-th zeros, whose memory is not touched.
inline __m256i load_quads(const int8_t* codes, size_t n) {
  if (n >= 8) return load(codes);
  const __m256i inside =
      _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  return _mm256_maskload_epi32(reinterpret_cast<const int*>(codes), inside);
}

// The first kChunk quads, or all n_quads.
inline void split_chunk(const int8_t* codes, size_t n_quads, SplitCodes& split) {
  const __m256i bias = _mm256_set1_epi8(-128);
  split.has_second = 0;
  for (size_t quad = 0; quad < kChunk && quad < n_quads; quad += 8) {
    const __m256i all = load_quads(codes + 4 * quad, n_quads - quad);
    // Codes of opposite sign add up to less than 128.
    const __m256i pairs = _mm256_abs_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), all));
    const __m256i is_large = _mm256_cmpgt_epi16(pairs, _mm256_set1_epi16(kLargestPair));
    // There is an average of unsigned bytes only; it rounds up.
    const __m256i half = _mm256_xor_si256(_mm256_avg_epu8(_mm256_xor_si256(all, bias), bias), bias);
    const __m256i second = _mm256_and_si256(half, is_large);
    store(split.first + 4 * quad, _mm256_sub_epi8(all, second));
    store(split.second + 4 * quad, second);
    const __m256i is_whole = _mm256_cmpeq_epi32(is_large, _mm256_setzero_si256());
    const auto whole = static_cast<uint64_t>(_mm256_movemask_ps(_mm256_castsi256_ps(is_whole)));
    split.has_second |= (whole ^ 0xff) << quad;
  }
}

// Two 16-bit lanes an item.
struct Sums {
  __m256i pairs[kGroup];   // modulo 2^16
  __m256i uppers[kGroup];  // of the pairs' upper bytes
};

inline void add_quad(const uint8_t* items, __m256i query, Sums& sums) {
#pragma GCC unroll 4
  for (size_t r = 0; r < kGroup; ++r) {
    const __m256i pairs = _mm256_maddubs_epi16(load(items + r * kYmmBytes), query);
    sums.pairs[r] = _mm256_add_epi16(sums.pairs[r], pairs);
    sums.uppers[r] = _mm256_add_epi16(sums.uppers[r], _mm256_srai_epi16(pairs, 8));
  }
}

// A lane's sum is 256 upper + rest with rest in [0, 2^15); an item's, that of its two lanes.
inline __m256i join(__m256i pairs, __m256i uppers) {
  const __m256i rests = _mm256_sub_epi16(pairs, _mm256_slli_epi16(uppers, 8));
  return _mm256_add_epi32(_mm256_madd_epi16(uppers, _mm256_set1_epi16(256)),
                          _mm256_madd_epi16(rests, _mm256_set1_epi16(1)));
}

// Adds n_quads <= kChunk quads of a group of items to its sums. Asks for the same bytes of another block as
// it reads its own: all at once, the requests would hold up the sums.
template <bool kFetch>
inline void add_chunk(const uint8_t* items, const SplitCodes& codes, size_t n_quads, const uint8_t* fetched,
                      __m256i* sums) {
  Sums own;
#pragma GCC unroll 4
  for (size_t r = 0; r < kGroup; ++r) own.pairs[r] = own.uppers[r] = _mm256_setzero_si256();
  size_t quad = 0;
  do {
    if (kFetch) {
      const char* lines = reinterpret_cast<const char*>(fetched + quad * kQuadBytes);
      for (size_t at = 0; at < kGroupBytes; at += kLine) _mm_prefetch(lines + at, _MM_HINT_T1);
    }
    add_quad(items + quad * kQuadBytes, broadcast_quad(codes.first + 4 * quad), own);
  } while (++quad < n_quads);
  for (uint64_t left = codes.has_second; left != 0; left &= left - 1) {
    const auto at = static_cast<size_t>(__builtin_ctzll(left));
    add_quad(items + at * kQuadBytes, broadcast_quad(codes.second + 4 * at), own);
  }
#pragma GCC unroll 4
  for (size_t r = 0; r < kGroup; ++r) {
    sums[r] = _mm256_add_epi32(sums[r], join(own.pairs[r], own.uppers[r]));
  }
}

// One query's codes of one part, its first chunk split beforehand.
struct Query {
  Query(const CodedQueries& queries, size_t query, size_t part)
      : Query(queries.codes + query * queries.stride + (part == 0 ? 0 : 4 * queries.n_quads[0]),
              queries.n_quads[part], queries.offsets[2 * query + part]) {}
  Query(const int8_t* all, size_t n, int32_t sum_offset) : codes(all), n_quads(n), offset(sum_offset) {
    split_chunk(codes, n_quads, start);
  }

  const int8_t* codes;
  size_t n_quads;
  int32_t offset;
  SplitCodes start;
};

// sums[r]: of items 8 r to 8 r + 7.
template <bool kFetch>
inline void sum_items(const uint8_t* part, const Query& query, const uint8_t* fetched,
                      __m256i (&sums)[kYmm]) {
  for (size_t r = 0; r < kYmm; ++r) sums[r] = _mm256_set1_epi32(-query.offset);
  SplitCodes later;
  const SplitCodes* codes = &query.start;
  for (size_t quad = 0; quad < query.n_quads; quad += kChunk) {
    const size_t left = query.n_quads - quad;
    if (quad > 0) {
      split_chunk(query.codes + 4 * quad, left, later);
      codes = &later;
    }
    for (size_t group = 0; group < kGroups; ++group) {
      const size_t at = quad * kQuadBytes + group * kGroupBytes;
      add_chunk<kFetch>(part + at, *codes, left < kChunk ? left : kChunk, kFetch ? fetched + at : nullptr,
                        sums + group * kGroup);
    }
  }
}

inline void sum_items(const uint8_t* part, const Query& query, const uint8_t* fetched,
                      __m256i (&sums)[kYmm]) {
  if (fetched != nullptr) {
    sum_items<true>(part, query, fetched, sums);
  } else {
    sum_items<false>(part, query, nullptr, sums);
  }
}

// Bits of 8 lanes whose sign is set.
inline uint64_t sign_bits(__m256 lanes) { return static_cast<uint32_t>(_mm256_movemask_ps(lanes)); }

inline uint64_t scan_block(const uint8_t* block, const Query& query, int32_t threshold,
                           const uint8_t* fetched) {
  __m256i sums[kYmm];
  sum_items(block, query, fetched, sums);
  const __m256i least = _mm256_set1_epi32(threshold);
  uint64_t below = 0;
#pragma GCC unroll 8
  for (size_t r = 0; r < kYmm; ++r) {
    below |= sign_bits(_mm256_castsi256_ps(_mm256_cmpgt_epi32(least, sums[r]))) << (kItems * r);
  }
  return ~below;
}

}  // namespace

void sum_part_i8_avx2(const uint8_t* block_part, const int8_t* codes, size_t n_quads, int32_t offset,
                      int32_t* sums) {
  const Query query(codes, n_quads, offset);
  __m256i wide[kYmm];
  sum_items(block_part, query, nullptr, wide);
  for (size_t r = 0; r < kYmm; ++r) store(sums + kItems * r, wide[r]);
}

void scan_part_i8_avx2(const uint8_t* block, const CodedQueries& queries, const uint32_t* which,
                       const int32_t* thresholds, size_t n, uint64_t* masks, const uint8_t* fetched) {
  for (size_t i = 0; i < n; ++i) {
    masks[i] = scan_block(block, Query(queries, which[i], 0), thresholds[i], i == 0 ? fetched : nullptr);
  }
}

void scan_blocks_i8_avx2(const uint8_t* codes, size_t block_bytes, const CodedQueries& queries,
                         uint32_t query, const uint32_t* blocks, const int32_t* thresholds, size_t n,
                         const uint32_t* ahead, size_t n_ahead, uint64_t* masks) {
  // Where codes follow each other the hardware does too, and better.
  const bool no_gaps = queries.n_quads[0] * kQuadBytes == block_bytes;
  if (no_gaps && n_ahead > 0 && ahead[n_ahead - 1] - ahead[0] + 1 == n_ahead) n_ahead = 0;
  const Query own(queries, query, 0);
  for (size_t i = 0; i < n; ++i) {
    const uint8_t* fetched = i < n_ahead ? codes + ahead[i] * block_bytes : nullptr;
    masks[i] = scan_block(codes + blocks[i] * block_bytes, own, thresholds[i], fetched);
  }
}

void scan_parts_i8_avx2(const uint8_t* block, const float* block_scales, const CodedQueries& queries,
                        const uint32_t* which, const float* thresholds, size_t n, uint64_t* masks,
                        const uint8_t* fetched) {
  const size_t begin = queries.n_quads[0] * kQuadBytes;  // of the second part
  for (size_t i = 0; i < n; ++i) {
    const size_t query = which[i];
    if (i > 0) fetched = nullptr;
    __m256i first[kYmm];
    __m256i second[kYmm];
    sum_items(block, Query(queries, query, 0), fetched, first);
    sum_items(block + begin, Query(queries, query, 1), fetched != nullptr ? fetched + begin : nullptr,
              second);
    const __m256 f0 = _mm256_set1_ps(block_scales[0] * queries.scales[2 * query]);
    const __m256 f1 = _mm256_set1_ps(block_scales[1] * queries.scales[2 * query + 1]);
    const __m256 threshold = _mm256_set1_ps(thresholds[i]);
    uint64_t mask = 0;
#pragma GCC unroll 8
    for (size_t r = 0; r < kYmm; ++r) {
      const __m256 part1 = _mm256_mul_ps(f1, _mm256_cvtepi32_ps(second[r]));
      const __m256 score = _mm256_fmadd_ps(f0, _mm256_cvtepi32_ps(first[r]), part1);
      mask |= sign_bits(_mm256_cmp_ps(score, threshold, _CMP_GE_OQ)) << (kItems * r);
    }
    masks[i] = mask;
  }
}

}  // namespace dpr
