// Query-side codes: what the kernels need of query vectors, or of away experts, beside their floats.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "index/block_index.h"

namespace dpr {

class CodedVectors {
 public:
  // Room for n vectors, all zero; arrays have a multiple of `lanes` entries.
  CodedVectors(const Parts& parts, std::size_t n, std::size_t lanes = 1);

  // Codes one vector: scale t = max |x| / 127 a part, code = round(x / t).
  void set(std::size_t place, const float* vector);

  // Replaces |x|, as far as roundings are concerned, by something larger.
  void widen(std::size_t place, std::size_t part, float norm) { array(part)[place] = norm; }

  std::size_t padded() const { return padded_; }
  CodedQueries view() const;
  const std::int8_t* codes(std::size_t place) const { return codes_.data() + place * stride_; }
  std::int32_t offset(std::size_t place, std::size_t part) const { return offsets_[2 * place + part]; }
  float scale(std::size_t place, std::size_t part) const { return scales()[2 * place + part]; }

  // Arrays over places, by part: |x|, |x - x'|, w and 1 / t of part 0 (docs/kernel.md).
  const float* norm(std::size_t part) const { return array(part); }
  const float* code_error(std::size_t part) const { return array(2 + part); }
  const float* rounding(std::size_t part) const { return array(4 + part); }
  const float* inverse_scale() const { return array(6); }

 private:
  static constexpr std::size_t kArrays = 9;  // the seven above, then the scales, two a place

  const float* array(std::size_t number) const { return values_.data() + number * padded_; }
  float* array(std::size_t number) { return values_.data() + number * padded_; }
  const float* scales() const { return array(7); }
  void set_part(std::size_t place, std::size_t part, const float* values, std::int8_t* codes);

  Parts parts_;
  std::size_t padded_;
  std::size_t stride_;
  std::vector<std::int8_t> codes_;
  std::vector<std::int32_t> offsets_;  // (padded, 2)
  std::vector<float> values_;          // (kArrays, padded)
};

}  // namespace dpr
