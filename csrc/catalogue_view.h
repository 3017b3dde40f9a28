// The catalogue as the scorer sees it. Owns nothing.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dpr {

struct CatalogueView {
  const float* vectors;           // (n_items, dim), C order, all finite
  const std::uint64_t* tag_bits;  // (n_items, n_tag_words), C order; null when n_tag_words is 0
  std::size_t n_items;
  std::size_t dim;
  std::size_t n_tag_words;
};

}  // namespace dpr
