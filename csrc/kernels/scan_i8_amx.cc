// int8 kernels for AMX: sixteen queries against the four groups of sixteen items of a block. tdpbsud
// multiplies s8 rows by u8 columns and adds to int32, exactly; a group of a block is a tile as it lies in
// memory, a row for each quad.
//
// Never run on a CPU that has AMX. What is known of this file is that its instructions, trapped and computed
// by a model, give the sums of the other levels (tests/core/test_amx.py). Its limit on small batches is a
// guess.
//
// Tiles are configured and released in every call. Tile registers and their configuration are the caller's to
// save, so nobody may rely on ours, nor we on theirs, and other libraries use tiles in the same threads.
#include "kernels/amx_tiles.h"

#include <immintrin.h>

#include "kernels/scan_i8.h"

namespace dpr {
namespace {

constexpr size_t kQueries = kTileRows;
constexpr size_t kPieceQuads = kTileRows;  // 64 dimensions
constexpr size_t kGroups = 4;
constexpr size_t kGroupBytes = 64;  // of one quad
// A tile that is half empty costs as much as a full one, and about as much as eight queries by VNNI.
constexpr size_t kFewestQueries = 8;

// Tiles 0 to 3 hold the sums of a group each.
constexpr int kCodes = 4;
constexpr int kItems = 5;
constexpr int kLastCodes = 6;  // shaped for the quads that do not fill a piece
constexpr int kLastItems = 7;

struct alignas(64) Codes {
  int8_t rows[kQueries][kTileRowBytes];
};

// Sums with their offsets, by query.
struct alignas(64) Sums {
  int32_t rows[kQueries][kBlockItems];
};

inline void set_shape(TileConfig& config, int tile, size_t rows, size_t row_bytes) {
  config.rows[tile] = static_cast<uint8_t>(rows);
  config.row_bytes[tile] = static_cast<uint16_t>(row_bytes);
}

// last_quads in [1, kPieceQuads].
inline void configure(size_t last_quads) {
  TileConfig config = {};
  config.palette = 1;
  for (int tile = 0; tile < kLastCodes; ++tile) set_shape(config, tile, kTileRows, kTileRowBytes);
  set_shape(config, kLastCodes, kQueries, 4 * last_quads);
  set_shape(config, kLastItems, last_quads, kTileRowBytes);
  tile_configure(config);
}

// The queries of one tile, and where the codes of a part begin in each.
struct Batch {
  const CodedQueries& queries;
  const uint32_t* which;
  size_t count;  // <= kQueries
};

// Rows past the count repeat the last query. Quads past the end are not read.
inline void gather(const Batch& batch, size_t first_code, size_t n_quads, Codes& codes) {
  const __mmask16 inside = static_cast<__mmask16>((1u << n_quads) - 1);
  for (size_t i = 0; i < kQueries; ++i) {
    const size_t query = batch.which[i < batch.count ? i : batch.count - 1];
    const int8_t* row = batch.queries.codes + query * batch.queries.stride + first_code;
    _mm512_store_si512(codes.rows[i], _mm512_maskz_loadu_epi32(inside, row));
  }
}

template <int kCodesTile, int kItemsTile>
inline void add_piece(const uint8_t* piece, const Codes& codes) {
  tile_load<kCodesTile>(codes.rows, kTileRowBytes);
  tile_load<kItemsTile>(piece, kQuadBytes);
  tile_add_products<0, kCodesTile, kItemsTile>();
  tile_load<kItemsTile>(piece + kGroupBytes, kQuadBytes);
  tile_add_products<1, kCodesTile, kItemsTile>();
  tile_load<kItemsTile>(piece + 2 * kGroupBytes, kQuadBytes);
  tile_add_products<2, kCodesTile, kItemsTile>();
  tile_load<kItemsTile>(piece + 3 * kGroupBytes, kQuadBytes);
  tile_add_products<3, kCodesTile, kItemsTile>();
}

inline void sum_batch(const uint8_t* block_part, const Batch& batch, size_t first_code, size_t n_quads,
                      Sums& sums) {
  tile_zero<0>();
  tile_zero<1>();
  tile_zero<2>();
  tile_zero<3>();
  Codes codes;
  size_t quad = 0;
  for (; quad + kPieceQuads <= n_quads; quad += kPieceQuads) {
    gather(batch, first_code + 4 * quad, kPieceQuads, codes);
    add_piece<kCodes, kItems>(block_part + quad * kQuadBytes, codes);
  }
  if (quad < n_quads) {
    gather(batch, first_code + 4 * quad, n_quads - quad, codes);
    add_piece<kLastCodes, kLastItems>(block_part + quad * kQuadBytes, codes);
  }
  int32_t* group = sums.rows[0];
  constexpr size_t kStride = sizeof(sums.rows[0]);
  tile_store<0>(group, kStride);
  tile_store<1>(group + kBlockItems / kGroups, kStride);
  tile_store<2>(group + 2 * kBlockItems / kGroups, kStride);
  tile_store<3>(group + 3 * kBlockItems / kGroups, kStride);
}

// Sums lie in [-2^30, 2^30], so a threshold beyond int32 may as well be its end.
inline int32_t shifted(int32_t threshold, int32_t offset) {
  const int64_t sum = int64_t{threshold} + offset;
  if (sum < INT32_MIN) return INT32_MIN;
  return sum > INT32_MAX ? INT32_MAX : static_cast<int32_t>(sum);
}

inline uint64_t reaching(const int32_t* sums, int32_t threshold) {
  const __m512i least = _mm512_set1_epi32(threshold);
  uint64_t mask = 0;
#pragma GCC unroll 4
  for (size_t g = 0; g < kGroups; ++g) {
    mask |= uint64_t{_mm512_cmpge_epi32_mask(_mm512_load_si512(sums + 16 * g), least)} << (16 * g);
  }
  return mask;
}

inline __m512 values(const int32_t* sums, int32_t offset) {
  return _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_load_si512(sums), _mm512_set1_epi32(offset)));
}

// As the AVX-512 kernel computes it, with the same bits.
inline uint64_t reaching(const Sums& first, const Sums& second, size_t i, const int32_t* offsets, float f0,
                         float f1, float threshold) {
  uint64_t mask = 0;
#pragma GCC unroll 4
  for (size_t g = 0; g < kGroups; ++g) {
    const __m512 part0 = values(first.rows[i] + 16 * g, offsets[0]);
    const __m512 part1 = _mm512_mul_ps(_mm512_set1_ps(f1), values(second.rows[i] + 16 * g, offsets[1]));
    const __m512 score = _mm512_fmadd_ps(_mm512_set1_ps(f0), part0, part1);
    mask |= uint64_t{_mm512_cmp_ps_mask(score, _mm512_set1_ps(threshold), _CMP_GE_OQ)} << (16 * g);
  }
  return mask;
}

// Queries from n on that are too few for a tile are left to AVX-512.
inline size_t in_tiles(size_t n) { return n % kQueries < kFewestQueries ? n - n % kQueries : n; }

inline size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

// Where no query is left to AVX-512, which does this otherwise.
inline void fetch(const uint8_t* codes, size_t n_quads) {
  if (codes == nullptr) return;
  for (size_t at = 0; at < n_quads * kQuadBytes; at += 64) __builtin_prefetch(codes + at, 0, 2);
}

// Quads of a part's last piece, 0 when its pieces are all full.
inline size_t last_quads(size_t n_quads) { return n_quads % kPieceQuads; }

}  // namespace

void scan_part_i8_amx(const uint8_t* block, const CodedQueries& queries, const uint32_t* which,
                      const int32_t* thresholds, size_t n, uint64_t* masks, const uint8_t* fetched) {
  const size_t n_tiled = in_tiles(n);
  if (n_tiled == n) fetch(fetched, queries.n_quads[0]);
  if (n_tiled > 0) {
    const size_t last = last_quads(queries.n_quads[0]);
    configure(last > 0 ? last : kPieceQuads);
    for (size_t i = 0; i < n_tiled; i += kQueries) {
      const Batch batch{queries, which + i, smaller(kQueries, n_tiled - i)};
      Sums sums;
      sum_batch(block, batch, 0, queries.n_quads[0], sums);
      for (size_t j = 0; j < batch.count; ++j) {
        const int32_t offset = queries.offsets[2 * which[i + j]];
        masks[i + j] = reaching(sums.rows[j], shifted(thresholds[i + j], offset));
      }
    }
    tile_release();
  }
  scan_part_i8_avx512vnni(block, queries, which + n_tiled, thresholds + n_tiled, n - n_tiled, masks + n_tiled,
                          fetched);
}

// One configuration serves both parts unless both end in pieces that are not full and differ; such widths are
// left to AVX-512.
void scan_parts_i8_amx(const uint8_t* block, const float* block_scales, const CodedQueries& queries,
                       const uint32_t* which, const float* thresholds, size_t n, uint64_t* masks,
                       const uint8_t* fetched) {
  const size_t last[2] = {last_quads(queries.n_quads[0]), last_quads(queries.n_quads[1])};
  const bool fits = last[0] == 0 || last[1] == 0 || last[0] == last[1];
  const size_t n_tiled = fits ? in_tiles(n) : 0;
  if (n_tiled == n) fetch(fetched, queries.n_quads[0] + queries.n_quads[1]);
  if (n_tiled > 0) {
    const size_t longest = last[0] > last[1] ? last[0] : last[1];
    configure(longest > 0 ? longest : kPieceQuads);
    for (size_t i = 0; i < n_tiled; i += kQueries) {
      const Batch batch{queries, which + i, smaller(kQueries, n_tiled - i)};
      Sums first;
      Sums second;
      sum_batch(block, batch, 0, queries.n_quads[0], first);
      sum_batch(block + queries.n_quads[0] * kQuadBytes, batch, 4 * queries.n_quads[0], queries.n_quads[1],
                second);
      for (size_t j = 0; j < batch.count; ++j) {
        const size_t query = which[i + j];
        const float f0 = block_scales[0] * queries.scales[2 * query];
        const float f1 = block_scales[1] * queries.scales[2 * query + 1];
        masks[i + j] = reaching(first, second, j, queries.offsets + 2 * query, f0, f1, thresholds[i + j]);
      }
    }
    tile_release();
  }
  scan_parts_i8_avx512vnni(block, block_scales, queries, which + n_tiled, thresholds + n_tiled, n - n_tiled,
                           masks + n_tiled, fetched);
}

}  // namespace dpr
