// int8 kernels for NEON without extensions. Item codes lose 128 first, which is one flipped bit, and are then
// s8: the sums come out without their offset, and nothing of it is needed. A product is at most 128 * 127 in
// size, so two of them fit an int16 (32,512); those are added in pairs to int32.
//
// Sixteen bytes are one quad of four items. They give two int32 an item, added to each other at the end.
#include <arm_neon.h>
#include <string.h>

#include "kernels/scan_i8.h"

namespace dpr {
namespace {

constexpr size_t kItems = 4;                     // of one load
constexpr size_t kLoads = 4;                     // of a group: eight accumulators
constexpr size_t kGroupItems = kItems * kLoads;  // 16
constexpr size_t kGroups = kBlockItems / kGroupItems;
constexpr size_t kRegisters = kBlockItems / kItems;  // registers that hold a block's sums

inline int8x16_t broadcast_quad(const int8_t* codes) {
  int32_t quad;
  memcpy(&quad, codes, sizeof(quad));
  return vreinterpretq_s8_s32(vdupq_n_s32(quad));
}

inline int8x16_t load_items(const uint8_t* codes) {
  return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(codes), vdupq_n_u8(0x80)));
}

// Sums of one group of items over one part, in the items' order.
inline void sum_group(const uint8_t* group, const int8_t* codes, size_t n_quads, int32x4_t (&sums)[kLoads]) {
  int32x4_t pairs[2 * kLoads];
  for (size_t r = 0; r < 2 * kLoads; ++r) pairs[r] = vdupq_n_s32(0);
  size_t quad = 0;
  for (; quad + 2 <= n_quads; quad += 2) {
    const int8x16_t q0 = broadcast_quad(codes + 4 * quad);
    const int8x16_t q1 = broadcast_quad(codes + 4 * quad + 4);
#pragma GCC unroll 4
    for (size_t r = 0; r < kLoads; ++r) {
      const int8x16_t items0 = load_items(group + quad * kQuadBytes + 16 * r);
      const int8x16_t items1 = load_items(group + (quad + 1) * kQuadBytes + 16 * r);
      const int16x8_t low = vmull_s8(vget_low_s8(items0), vget_low_s8(q0));
      const int16x8_t high = vmull_high_s8(items0, q0);
      pairs[2 * r] = vpadalq_s16(pairs[2 * r], vmlal_s8(low, vget_low_s8(items1), vget_low_s8(q1)));
      pairs[2 * r + 1] = vpadalq_s16(pairs[2 * r + 1], vmlal_high_s8(high, items1, q1));
    }
  }
  if (quad < n_quads) {
    const int8x16_t q = broadcast_quad(codes + 4 * quad);
#pragma GCC unroll 4
    for (size_t r = 0; r < kLoads; ++r) {
      const int8x16_t items = load_items(group + quad * kQuadBytes + 16 * r);
      pairs[2 * r] = vpadalq_s16(pairs[2 * r], vmull_s8(vget_low_s8(items), vget_low_s8(q)));
      pairs[2 * r + 1] = vpadalq_s16(pairs[2 * r + 1], vmull_high_s8(items, q));
    }
  }
  for (size_t r = 0; r < kLoads; ++r) sums[r] = vpaddq_s32(pairs[2 * r], pairs[2 * r + 1]);
}

// One bit a lane of sixteen registers whose lanes are all ones or zero.
inline uint64_t bits_of(const uint32x4_t (&lanes)[kRegisters]) {
  const uint8x16_t places = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201));
  uint8x16_t bits[4];
  for (size_t r = 0; r < 4; ++r) {
    const uint16x8_t low = vcombine_u16(vmovn_u32(lanes[4 * r]), vmovn_u32(lanes[4 * r + 1]));
    const uint16x8_t high = vcombine_u16(vmovn_u32(lanes[4 * r + 2]), vmovn_u32(lanes[4 * r + 3]));
    bits[r] = vandq_u8(vcombine_u8(vmovn_u16(low), vmovn_u16(high)), places);
  }
  // Each step adds neighbours; after three, eight lanes have become one byte.
  const uint8x16_t halves = vpaddq_u8(vpaddq_u8(bits[0], bits[1]), vpaddq_u8(bits[2], bits[3]));
  return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(halves, halves)), 0);
}

inline void sum_block(const uint8_t* block_part, const int8_t* codes, size_t n_quads,
                      int32x4_t (&sums)[kRegisters]) {
  for (size_t g = 0; g < kGroups; ++g) {
    int32x4_t group[kLoads];
    sum_group(block_part + 4 * kGroupItems * g, codes, n_quads, group);
    for (size_t r = 0; r < kLoads; ++r) sums[g * kLoads + r] = group[r];
  }
}

inline void fetch(const uint8_t* codes, size_t n_quads) {
  if (codes == nullptr) return;
  for (size_t at = 0; at < n_quads * kQuadBytes; at += 64) __builtin_prefetch(codes + at);
}

}  // namespace

void sum_part_i8_neon(const uint8_t* block_part, const int8_t* codes, size_t n_quads, int32_t /*offset*/,
                      int32_t* sums) {
  int32x4_t wide[kRegisters];
  sum_block(block_part, codes, n_quads, wide);
  for (size_t r = 0; r < kRegisters; ++r) vst1q_s32(sums + kItems * r, wide[r]);
}

void scan_part_i8_neon(const uint8_t* block, const CodedQueries& queries, const uint32_t* which,
                       const int32_t* thresholds, size_t n, uint64_t* masks, const uint8_t* fetched) {
  fetch(fetched, queries.n_quads[0]);
  for (size_t i = 0; i < n; ++i) {
    int32x4_t sums[kRegisters];
    sum_block(block, queries.codes + which[i] * queries.stride, queries.n_quads[0], sums);
    const int32x4_t threshold = vdupq_n_s32(thresholds[i]);
    uint32x4_t reaches[kRegisters];
    for (size_t r = 0; r < kRegisters; ++r) reaches[r] = vcgeq_s32(sums[r], threshold);
    masks[i] = bits_of(reaches);
  }
}

void scan_blocks_i8_neon(const uint8_t* codes, size_t block_bytes, const CodedQueries& queries,
                         uint32_t query, const uint32_t* blocks, const int32_t* thresholds, size_t n,
                         const uint32_t* ahead, size_t n_ahead, uint64_t* masks) {
  for (size_t i = 0; i < n; ++i) {
    const uint8_t* fetched = i < n_ahead ? codes + ahead[i] * block_bytes : nullptr;
    scan_part_i8_neon(codes + blocks[i] * block_bytes, queries, &query, thresholds + i, 1, masks + i,
                      fetched);
  }
}

void scan_parts_i8_neon(const uint8_t* block, const float* block_scales, const CodedQueries& queries,
                        const uint32_t* which, const float* thresholds, size_t n, uint64_t* masks,
                        const uint8_t* fetched) {
  fetch(fetched, queries.n_quads[0] + queries.n_quads[1]);
  for (size_t i = 0; i < n; ++i) {
    const size_t query = which[i];
    const int8_t* codes = queries.codes + query * queries.stride;
    int32x4_t first[kRegisters];
    int32x4_t second[kRegisters];
    sum_block(block, codes, queries.n_quads[0], first);
    sum_block(block + queries.n_quads[0] * kQuadBytes, codes + 4 * queries.n_quads[0], queries.n_quads[1],
              second);
    const float32x4_t f0 = vdupq_n_f32(block_scales[0] * queries.scales[2 * query]);
    const float32x4_t f1 = vdupq_n_f32(block_scales[1] * queries.scales[2 * query + 1]);
    const float32x4_t threshold = vdupq_n_f32(thresholds[i]);
    uint32x4_t reaches[kRegisters];
    for (size_t r = 0; r < kRegisters; ++r) {
      const float32x4_t part1 = vmulq_f32(f1, vcvtq_f32_s32(second[r]));
      reaches[r] = vcgeq_f32(vfmaq_f32(part1, f0, vcvtq_f32_s32(first[r])), threshold);
    }
    masks[i] = bits_of(reaches);
  }
}

}  // namespace dpr
