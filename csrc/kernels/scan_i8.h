// Contract of the int8 kernels: one block of 64 coded items against coded queries. Plain data only.
//
// A block holds u8 codes in quads of 4 dimensions: [quad][64 items][4]. A query holds s8 codes, 4 a quad, all
// in [-127, 127]. With offset = 128 * (sum of the query's codes), the sum of item j is
//     sum over dimensions of (item code - 128) * query code = (sum of item code * query code) - offset,
// in int32, exact on every level: partial sums stay below (255 + 128) * 127 * 4 * n_quads < 2^31 as long as
// the parts together have at most kMaxQuads. Neither blocks nor codes need any alignment.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace dpr {

constexpr size_t kBlockItems = 64;
constexpr size_t kMaxQuads = 8192;              // 32,768 dimensions
constexpr size_t kQuadBytes = 4 * kBlockItems;  // of one block

// The codes of a batch of queries. Part 0's quads come first, part 1's follow.
struct CodedQueries {
  const int8_t* codes;     // (n, stride)
  size_t stride;           // bytes, >= 4 * (n_quads[0] + n_quads[1])
  const int32_t* offsets;  // (n, 2)
  const float* scales;     // (n, 2): value = scale * code
  size_t n_quads[2];
};

// Bit j of masks[i] says whether the sum over part 0 of item j and query which[i] is >= thresholds[i].
// `fetched` may point to a block that is needed soon: levels may ask memory for its codes meanwhile.
using ScanPart = void(const uint8_t* block, const CodedQueries& queries, const uint32_t* which,
                      const int32_t* thresholds, size_t n, uint64_t* masks, const uint8_t* fetched);

// The same for one query and a list of blocks: masks[i] of block blocks[i], which lies at codes + blocks[i] *
// block_bytes. While block i is scanned, the codes of block ahead[i] are asked for, if i < n_ahead.
using ScanBlocks = void(const uint8_t* codes, size_t block_bytes, const CodedQueries& queries, uint32_t query,
                        const uint32_t* blocks, const int32_t* thresholds, size_t n, const uint32_t* ahead,
                        size_t n_ahead, uint64_t* masks);

// Bit j of masks[i]: f0 * sum0 + f1 * sum1 >= thresholds[i] in float32, where f_p = block_scales[p] *
// queries.scales[which[i]][p]. Levels may round this differently: at most four roundings in each term.
using ScanParts = void(const uint8_t* block, const float* block_scales, const CodedQueries& queries,
                       const uint32_t* which, const float* thresholds, size_t n, uint64_t* masks,
                       const uint8_t* fetched);

// sums[j] of one part of a block against one vector's codes.
using SumPart = void(const uint8_t* block_part, const int8_t* codes, size_t n_quads, int32_t offset,
                     int32_t* sums);

ScanPart scan_part_i8_scalar;
ScanBlocks scan_blocks_i8_scalar;
ScanParts scan_parts_i8_scalar;
SumPart sum_part_i8_scalar;
ScanPart scan_part_i8_avx2;
ScanBlocks scan_blocks_i8_avx2;
ScanParts scan_parts_i8_avx2;
SumPart sum_part_i8_avx2;
ScanPart scan_part_i8_avx512vnni;
ScanBlocks scan_blocks_i8_avx512vnni;
ScanParts scan_parts_i8_avx512vnni;
SumPart sum_part_i8_avx512vnni;
ScanPart scan_part_i8_amx;
ScanParts scan_parts_i8_amx;
ScanPart scan_part_i8_neon;
ScanBlocks scan_blocks_i8_neon;
ScanParts scan_parts_i8_neon;
SumPart sum_part_i8_neon;

}  // namespace dpr
