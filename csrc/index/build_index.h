// Making an index from item vectors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "catalogue_view.h"
#include "dispatch.h"
#include "index/block_index.h"

namespace dpr {

// The arrays of an index, owned.
struct OwnedIndex {
  std::vector<std::uint8_t> codes;
  std::vector<std::uint32_t> rows;
  std::vector<std::uint32_t> cluster;
  std::vector<float> bounds;
  std::vector<float> centres;

  IndexArrays arrays(std::size_t dim) const;
};

// Clusters items by direction, sorts each cluster by the distance from its centre's line, cuts it into blocks
// of 64 and codes them. The same bits on every machine and for any number of threads. Norms beyond
// kLargestNorm are coded like others; searches notice.
OwnedIndex build_index(const CatalogueView& catalogue, const Parts& parts, const KernelTable& kernels,
                       std::size_t threads);

}  // namespace dpr
