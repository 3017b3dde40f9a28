// Canonical dot products with NEON, which every AArch64 machine has: four rows at a time, four 4-lane
// accumulators each, and one joint reduction for all of them.
#include <arm_neon.h>

#include "kernels/dot_f32.h"

namespace dpr {
namespace {

constexpr size_t kLanes = 16;
constexpr size_t kQuarter = 4;  // lanes of one register
constexpr size_t kRegisters = kLanes / kQuarter;
constexpr size_t kGroup = 4;

// Register p holds lanes 4 p .. 4 p + 3.
struct Sums {
  float32x4_t part[kRegisters];
};

// Elements d .. d + 3 of `dim`; those past the end are +0 and their memory is not touched.
inline float32x4_t load_inside(const float* values, size_t d, size_t dim) {
  if (d + kQuarter <= dim) return vld1q_f32(values + d);
  float32x4_t lanes = vdupq_n_f32(0.0f);
  if (d < dim) lanes = vld1q_lane_f32(values + d, lanes, 0);
  if (d + 1 < dim) lanes = vld1q_lane_f32(values + d + 1, lanes, 1);
  if (d + 2 < dim) lanes = vld1q_lane_f32(values + d + 2, lanes, 2);
  return lanes;
}

// All registers take part, even those past the end: adding +0 is part of the contract.
inline void add_tail(const float* query, const float* const* rows, size_t d, size_t dim, Sums* sums) {
#pragma GCC unroll 4
  for (size_t p = 0; p < kRegisters; ++p) {
    const float32x4_t q = load_inside(query, d + kQuarter * p, dim);
#pragma GCC unroll 4
    for (size_t r = 0; r < kGroup; ++r) {
      sums[r].part[p] = vfmaq_f32(sums[r].part[p], q, load_inside(rows[r], d + kQuarter * p, dim));
    }
  }
}

// The folds of eight and of four.
inline float32x4_t fold_8_4(const Sums& sums) {
  return vaddq_f32(vaddq_f32(sums.part[0], sums.part[2]), vaddq_f32(sums.part[1], sums.part[3]));
}

// The fold of two, for two rows: [a: 2 lanes, b: 2 lanes].
inline float32x4_t fold_2(float32x4_t a, float32x4_t b) {
  return vaddq_f32(vcombine_f32(vget_low_f32(a), vget_low_f32(b)),
                   vcombine_f32(vget_high_f32(a), vget_high_f32(b)));
}

// Lane r of the result is the canonical sum of row r. The last fold adds neighbours.
inline float32x4_t reduce(const Sums* sums) {
  return vpaddq_f32(fold_2(fold_8_4(sums[0]), fold_8_4(sums[1])),
                    fold_2(fold_8_4(sums[2]), fold_8_4(sums[3])));
}

inline float32x4_t dot_group(const float* query, const float* const* rows, size_t dim) {
  Sums sums[kGroup];
#pragma GCC unroll 4
  for (size_t r = 0; r < kGroup; ++r) {
#pragma GCC unroll 4
    for (size_t p = 0; p < kRegisters; ++p) sums[r].part[p] = vdupq_n_f32(0.0f);
  }
  size_t d = 0;
  for (; d + kLanes <= dim; d += kLanes) {
#pragma GCC unroll 4
    for (size_t p = 0; p < kRegisters; ++p) {
      const float32x4_t q = vld1q_f32(query + d + kQuarter * p);
#pragma GCC unroll 4
      for (size_t r = 0; r < kGroup; ++r) {
        sums[r].part[p] = vfmaq_f32(sums[r].part[p], q, vld1q_f32(rows[r] + d + kQuarter * p));
      }
    }
  }
  if (d < dim) add_tail(query, rows, d, dim, sums);
  return reduce(sums);
}

// index is null for consecutive rows. A last, shorter group repeats its last row.
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
    float dots[kGroup];
    vst1q_f32(dots, dot_group(query, rows, dim));
    for (size_t r = 0; r < count; ++r) out[first + r] = dots[r];
  }
}

}  // namespace

void dot_rows_f32_neon(const float* query, const float* rows, size_t n_rows, size_t dim, float* out) {
  dot_all<false>(query, rows, nullptr, n_rows, dim, out);
}

void dot_gather_f32_neon(const float* query, const float* base, const uint32_t* index, size_t n_rows,
                         size_t dim, float* out) {
  dot_all<true>(query, base, index, n_rows, dim, out);
}

}  // namespace dpr
