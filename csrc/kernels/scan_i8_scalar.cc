// The oracle of the int8 kernels, in plain loops.
#include "kernels/scan_i8.h"

namespace dpr {

void sum_part_i8_scalar(const uint8_t* block_part, const int8_t* codes, size_t n_quads, int32_t offset,
                        int32_t* sums) {
  for (size_t j = 0; j < kBlockItems; ++j) sums[j] = -offset;
  for (size_t quad = 0; quad < n_quads; ++quad) {
    for (size_t j = 0; j < kBlockItems; ++j) {
      for (size_t d = 0; d < 4; ++d) {
        sums[j] += int32_t{block_part[quad * kQuadBytes + 4 * j + d]} * int32_t{codes[4 * quad + d]};
      }
    }
  }
}

void scan_part_i8_scalar(const uint8_t* block, const CodedQueries& queries, const uint32_t* which,
                         const int32_t* thresholds, size_t n, uint64_t* masks, const uint8_t*) {
  int32_t sums[kBlockItems];
  for (size_t i = 0; i < n; ++i) {
    const size_t query = which[i];
    sum_part_i8_scalar(block, queries.codes + query * queries.stride, queries.n_quads[0],
                       queries.offsets[2 * query], sums);
    masks[i] = 0;
    for (size_t j = 0; j < kBlockItems; ++j) masks[i] |= uint64_t{sums[j] >= thresholds[i]} << j;
  }
}

void scan_blocks_i8_scalar(const uint8_t* codes, size_t block_bytes, const CodedQueries& queries,
                           uint32_t query, const uint32_t* blocks, const int32_t* thresholds, size_t n,
                           const uint32_t*, size_t, uint64_t* masks) {
  for (size_t i = 0; i < n; ++i) {
    scan_part_i8_scalar(codes + blocks[i] * block_bytes, queries, &query, thresholds + i, 1, masks + i,
                        nullptr);
  }
}

void scan_parts_i8_scalar(const uint8_t* block, const float* block_scales, const CodedQueries& queries,
                          const uint32_t* which, const float* thresholds, size_t n, uint64_t* masks,
                          const uint8_t*) {
  int32_t first[kBlockItems];
  int32_t second[kBlockItems];
  for (size_t i = 0; i < n; ++i) {
    const size_t query = which[i];
    const int8_t* codes = queries.codes + query * queries.stride;
    const float f0 = block_scales[0] * queries.scales[2 * query];
    const float f1 = block_scales[1] * queries.scales[2 * query + 1];
    sum_part_i8_scalar(block, codes, queries.n_quads[0], queries.offsets[2 * query], first);
    sum_part_i8_scalar(block + queries.n_quads[0] * kQuadBytes, codes + 4 * queries.n_quads[0],
                       queries.n_quads[1], queries.offsets[2 * query + 1], second);
    masks[i] = 0;
    for (size_t j = 0; j < kBlockItems; ++j) {
      const float score = f0 * static_cast<float>(first[j]) + f1 * static_cast<float>(second[j]);
      masks[i] |= uint64_t{score >= thresholds[i]} << j;
    }
  }
}

}  // namespace dpr
