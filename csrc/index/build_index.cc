#include "index/build_index.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "fp_environment.h"
#include "huge_pages.h"
#include "index/error_bound.h"
#include "index/item_geometry.h"
#include "index/kmeans.h"
#include "threads/parallel_for.h"

namespace dpr {
namespace {

// Twice N^0.4, from measurements with 256 natural clusters. At a million items 500 centres leave 7.3 % of the
// blocks to read for k = 10, 700 leave 8.0 %, 4096 23 % (blocks that are not full); at 100,000 items 97
// centres leave 51 %, 200 40 %. At least 8 blocks a cluster, so that few are not full; with few items no
// clusters at all.
std::size_t cluster_count(std::size_t n_items) {
  if (n_items < 8192) return 1;
  const auto wanted = static_cast<std::size_t>(2.0 * std::pow(static_cast<double>(n_items), 0.4));
  return std::min(wanted, n_items / (8 * kBlockItems));
}

// Lengths of the centres stay below 1 after rounding, as the bounds assume.
constexpr double kBelowOne = 1.0 - 0x1p-22;

class Builder {
 public:
  Builder(const CatalogueView& catalogue, const Parts& parts, Clusters clusters)
      : catalogue_(catalogue), parts_(parts), clusters_(std::move(clusters)) {}

  OwnedIndex build(std::size_t threads);

 private:
  struct Span {
    std::size_t first;  // place in order_
    std::size_t count;  // <= 64
  };

  const float* vector(std::size_t row, std::size_t part) const {
    return catalogue_.vectors + row * catalogue_.dim + parts_.begin[part];
  }
  const float* centre(std::size_t cluster, std::size_t part) const {
    return index_.centres.data() + cluster * catalogue_.dim + parts_.begin[part];
  }
  void normalise_centres();
  void sort_items(std::size_t threads);
  void cut_blocks();
  void fill_block(std::size_t block);
  void fill_part(std::size_t block, std::size_t part);

  const CatalogueView& catalogue_;
  const Parts& parts_;
  Clusters clusters_;
  std::vector<float> across_;         // (n_items,): distance of the item from its centre's line
  std::vector<std::uint32_t> order_;  // items by cluster, then across_ falling
  std::vector<Span> spans_;
  OwnedIndex index_;
};

// Each part of a centre gets a length of its own: bounds are made part by part.
void Builder::normalise_centres() {
  index_.centres = clusters_.centres;
  const std::size_t n_clusters = index_.centres.size() / catalogue_.dim;
  for (std::size_t c = 0; c < n_clusters; ++c) {
    for (std::size_t p = 0; p < parts_.count; ++p) {
      float* values = index_.centres.data() + c * catalogue_.dim + parts_.begin[p];
      double square = 0.0;
      for (std::size_t d = 0; d < parts_.width[p]; ++d) square += double{values[d]} * double{values[d]};
      const double scale = square > 0.0 ? kBelowOne / std::sqrt(square) : 0.0;
      for (std::size_t d = 0; d < parts_.width[p]; ++d) values[d] = static_cast<float>(values[d] * scale);
    }
  }
}

void Builder::sort_items(std::size_t threads) {
  across_.resize(catalogue_.n_items);
  constexpr std::size_t kTaskItems = 16384;
  parallel_for((catalogue_.n_items + kTaskItems - 1) / kTaskItems, threads,
               [&](std::size_t task, std::size_t) {
                 for (std::size_t i = task * kTaskItems;
                      i < std::min(catalogue_.n_items, (task + 1) * kTaskItems); ++i) {
                   double square = 0.0;
                   for (std::size_t p = 0; p < parts_.count; ++p) {
                     double dot = 0.0;
                     double norm = 0.0;
                     const float* item = vector(i, p);
                     const float* axis = centre(clusters_.assignment[i], p);
                     for (std::size_t d = 0; d < parts_.width[p]; ++d) {
                       dot += double{item[d]} * double{axis[d]};
                       norm += double{item[d]} * double{item[d]};
                     }
                     square += std::max(0.0, norm - dot * dot);
                   }
                   across_[i] = static_cast<float>(std::sqrt(square));
                 }
               });
  order_.resize(catalogue_.n_items);
  std::iota(order_.begin(), order_.end(), 0u);
  std::sort(order_.begin(), order_.end(), [this](std::uint32_t a, std::uint32_t b) {
    const std::uint32_t cluster_a = clusters_.assignment[a];
    const std::uint32_t cluster_b = clusters_.assignment[b];
    if (cluster_a != cluster_b) return cluster_a < cluster_b;
    if (across_[a] != across_[b]) return across_[a] > across_[b];
    return a < b;
  });
}

void Builder::cut_blocks() {
  for (std::size_t first = 0; first < order_.size();) {
    const std::uint32_t cluster = clusters_.assignment[order_[first]];
    std::size_t end = first;
    while (end < order_.size() && end - first < kBlockItems && clusters_.assignment[order_[end]] == cluster) {
      ++end;
    }
    spans_.push_back({first, end - first});
    index_.cluster.push_back(cluster);
    first = end;
  }
}

void Builder::fill_part(std::size_t block, std::size_t part) {
  const Span span = spans_[block];
  const std::size_t width = parts_.width[part];
  float largest = 0.0f;
  for (std::size_t j = 0; j < span.count; ++j) {
    const float* item = vector(order_[span.first + j], part);
    for (std::size_t d = 0; d < width; ++d) largest = std::max(largest, std::fabs(item[d]));
  }
  const float scale = std::max(kSmallestScale, round_up(double{largest} / 127.0));
  std::uint8_t* codes = index_.codes.data() + block * parts_.n_quads() * kQuadBytes +
                        (part == 0 ? 0 : parts_.n_quads(0) * kQuadBytes);
  ItemGeometry extreme{0.0, 0.0, 0.0, 0.0, 0.0};
  double along_min = 0.0;
  double along_max = 0.0;
  for (std::size_t j = 0; j < span.count; ++j) {
    const float* item = vector(order_[span.first + j], part);
    for (std::size_t d = 0; d < width; ++d) {
      const double code = std::nearbyint(double{item[d]} / double{scale});
      codes[d / 4 * kQuadBytes + 4 * j + d % 4] = static_cast<std::uint8_t>(code + 128.0);
    }
    const ItemGeometry got =
        item_geometry(item, centre(index_.cluster[block], part), codes + 4 * j, scale, width);
    along_min = j == 0 ? got.along : std::min(along_min, got.along);
    along_max = j == 0 ? got.along : std::max(along_max, got.along);
    extreme.across = std::max(extreme.across, got.across);
    extreme.norm = std::max(extreme.norm, got.norm);
    extreme.code_error = std::max(extreme.code_error, got.code_error);
    extreme.code_norm = std::max(extreme.code_norm, got.code_norm);
  }
  const float values[kBoundKinds] = {scale,
                                     round_up(extreme.code_error),
                                     round_up(extreme.code_norm),
                                     round_up(extreme.norm),
                                     round_down(along_min),
                                     round_up(along_max),
                                     round_up(extreme.across)};
  for (std::size_t kind = 0; kind < kBoundKinds; ++kind) {
    index_.bounds[(part * kBoundKinds + kind) * spans_.size() + block] = values[kind];
  }
}

void Builder::fill_block(std::size_t block) {
  const Span span = spans_[block];
  for (std::size_t j = 0; j < kBlockItems; ++j) {
    index_.rows[block * kBlockItems + j] = j < span.count ? order_[span.first + j] : kEmptySlot;
  }
  for (std::size_t p = 0; p < parts_.count; ++p) fill_part(block, p);
}

OwnedIndex Builder::build(std::size_t threads) {
  normalise_centres();
  sort_items(threads);
  cut_blocks();
  const std::size_t n_blocks = spans_.size();
  // 128 stands for zero: empty slots and the padding of a part's last quad add nothing to a sum.
  reserve_huge(index_.codes, n_blocks * parts_.n_quads() * kQuadBytes);
  index_.codes.assign(n_blocks * parts_.n_quads() * kQuadBytes, 128);
  index_.rows.resize(n_blocks * kBlockItems);
  index_.bounds.resize(parts_.count * kBoundKinds * n_blocks);
  constexpr std::size_t kTaskBlocks = 64;
  parallel_for((n_blocks + kTaskBlocks - 1) / kTaskBlocks, threads, [&](std::size_t task, std::size_t) {
    const FpEnvironment environment;
    for (std::size_t b = task * kTaskBlocks; b < std::min(n_blocks, (task + 1) * kTaskBlocks); ++b) {
      fill_block(b);
    }
  });
  return std::move(index_);
}

}  // namespace

IndexArrays OwnedIndex::arrays(std::size_t dim) const {
  return {codes.data(),   rows.data(),    cluster.data(),      bounds.data(),
          centres.data(), cluster.size(), centres.size() / dim};
}

OwnedIndex build_index(const CatalogueView& catalogue, const Parts& parts, const KernelTable& kernels,
                       std::size_t threads) {
  const FpEnvironment environment;
  Clusters clusters = cluster_items(catalogue, kernels, cluster_count(catalogue.n_items), threads);
  return Builder(catalogue, parts, std::move(clusters)).build(threads);
}

}  // namespace dpr
