// Query-side codes: what the kernels need of a query vector, or of an away expert, beside its floats.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "index/block_index.h"

namespace dpr {

// Coded vectors as arrays over the batch, padded to a multiple of kQueryLanes.
class CodedVectors {
 public:
  // Room for n vectors, all zero.
  CodedVectors(const Parts& parts, std::size_t n);

  // Codes one vector: scale t = max |x| / 127 a part, code = round(x / t).
  void set(std::size_t place, const float* vector);

  std::size_t padded() const { return padded_; }
  const std::int8_t* codes(std::size_t place) const { return codes_.data() + place * stride_; }
  std::int32_t offset(std::size_t place, std::size_t part) const { return offsets_[2 * place + part]; }
  float scale(std::size_t place, std::size_t part) const { return scales_[2 * place + part]; }
  CodedQueries view() const;

  // Arrays over places, by part: |x|, |x - x'|, w and 1 / t of part 0 (docs/kernel.md).
  const float* norm(std::size_t part) const { return norm_[part].data(); }
  const float* code_error(std::size_t part) const { return code_error_[part].data(); }
  const float* rounding(std::size_t part) const { return rounding_[part].data(); }
  const float* inverse_scale() const { return inverse_scale_.data(); }

 private:
  void set_part(std::size_t place, std::size_t part, const float* values, std::int8_t* codes);

  Parts parts_;
  std::size_t padded_;
  std::size_t stride_;
  std::vector<std::int8_t> codes_;
  std::vector<std::int32_t> offsets_;
  std::vector<float> scales_;
  std::vector<float> norm_[kMaxParts];
  std::vector<float> code_error_[kMaxParts];
  std::vector<float> rounding_[kMaxParts];
  std::vector<float> inverse_scale_;
};

}  // namespace dpr
