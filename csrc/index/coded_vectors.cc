#include "index/coded_vectors.h"

#include <algorithm>
#include <cmath>

#include "index/error_bound.h"

namespace dpr {

CodedVectors::CodedVectors(const Parts& parts, std::size_t n, std::size_t lanes)
    : parts_(parts),
      padded_((n + lanes - 1) / lanes * lanes),
      stride_(4 * parts.n_quads()),
      codes_(padded_ * stride_),
      offsets_(2 * padded_),
      values_(kArrays * padded_) {}

void CodedVectors::set(std::size_t place, const float* vector) {
  std::int8_t* codes = codes_.data() + place * stride_;
  for (std::size_t p = 0; p < parts_.count; ++p) {
    set_part(place, p, vector + parts_.begin[p], codes + (p == 0 ? 0 : 4 * parts_.n_quads(0)));
  }
  array(6)[place] = 1.0f / scale(place, 0);
}

void CodedVectors::set_part(std::size_t place, std::size_t part, const float* values, std::int8_t* codes) {
  const std::size_t width = parts_.width[part];
  float largest = 0.0f;
  double square = 0.0;
  for (std::size_t d = 0; d < width; ++d) {
    largest = std::max(largest, std::fabs(values[d]));
    square += double{values[d]} * double{values[d]};
  }
  // Rounded up, so that no code passes 127.
  const float scale = std::max(kSmallestScale, round_up(double{largest} / 127.0));
  const double inverse = 1.0 / double{scale};
  std::int32_t sum = 0;
  std::int32_t sum_of_sizes = 0;
  double error_square = 0.0;
  for (std::size_t d = 0; d < width; ++d) {
    // Half away from zero, and any other choice, would do: the error is measured, not assumed.
    const double scaled = double{values[d]} * inverse;
    const auto code = static_cast<std::int32_t>(scaled + (scaled < 0.0 ? -0.5 : 0.5));
    codes[d] = static_cast<std::int8_t>(code);
    sum += code;
    sum_of_sizes += std::abs(code);
    const double error = double{values[d]} - double{scale} * code;
    error_square += error * error;
  }
  const double norm = std::sqrt(square) * kFloat64Slack;
  offsets_[2 * place + part] = 128 * sum;
  array(7)[2 * place + part] = scale;
  array(part)[place] = round_up(norm);
  array(2 + part)[place] = round_up(std::sqrt(error_square) * kFloat64Slack + norm * 0x1p-48);
  // Eight roundings of sums no larger than 127 |codes|_1.
  array(4 + part)[place] = round_up(gamma_float32(8) * 127.0 * sum_of_sizes * double{scale});
}

CodedQueries CodedVectors::view() const {
  return {codes_.data(), stride_, offsets_.data(), scales(), {parts_.n_quads(0), parts_.n_quads(1)}};
}

}  // namespace dpr
