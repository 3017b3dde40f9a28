// The oracle: the canonical dot product in plain loops. Clear before fast; std::fma is libm's where the
// baseline instruction set has none.
#include <cmath>

#include "kernels/dot_f32.h"

namespace dpr {
namespace {

constexpr size_t kLanes = 16;

float dot(const float* a, const float* b, size_t dim) {
  float lanes[kLanes] = {};
  for (size_t start = 0; start < dim; start += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) {
      const bool inside = start + j < dim;
      lanes[j] = std::fma(inside ? a[start + j] : 0.0f, inside ? b[start + j] : 0.0f, lanes[j]);
    }
  }
  for (size_t half = kLanes / 2; half > 0; half /= 2) {
    for (size_t j = 0; j < half; ++j) lanes[j] += lanes[j + half];
  }
  return lanes[0];
}

}  // namespace

void dot_rows_f32_scalar(const float* query, const float* rows, size_t n_rows, size_t dim, float* out) {
  for (size_t i = 0; i < n_rows; ++i) out[i] = dot(query, rows + i * dim, dim);
}

void dot_gather_f32_scalar(const float* query, const float* base, const uint32_t* index, size_t n_rows,
                           size_t dim, float* out) {
  for (size_t i = 0; i < n_rows; ++i) out[i] = dot(query, base + index[i] * dim, dim);
}

}  // namespace dpr
