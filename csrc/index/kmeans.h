// Spherical k-means over item vectors, the same on every machine: canonical dot products, a fixed sequence of
// random numbers, ties to the lower number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "catalogue_view.h"
#include "dispatch.h"

namespace dpr {

struct Clusters {
  std::vector<float> centres;             // (n_clusters, dim), of length 1 or 0
  std::vector<std::uint32_t> assignment;  // (n_items,): the centre of the largest dot product
};

// Centres are learned on a sample, then every item is assigned. n_clusters in [1, n_items].
Clusters cluster_items(const CatalogueView& catalogue, const KernelTable& kernels, std::size_t n_clusters,
                       std::size_t threads);

}  // namespace dpr
