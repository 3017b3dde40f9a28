// The quantised, block-wise index of a catalogue, as a view over arrays that live elsewhere (a mapped file).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "catalogue_view.h"
#include "kernels/block_bounds.h"
#include "kernels/scan_i8.h"

namespace dpr {

constexpr std::size_t kMaxParts = 2;
constexpr std::size_t kBoundKinds = 7;
constexpr std::size_t kCacheBytes = 2 << 20;
constexpr std::uint32_t kEmptySlot = 0xffffffffu;

// The parts [c | w] of an item vector: the collaborative and the semantic one, or all of it as one.
struct Parts {
  std::size_t count;  // 1 or 2
  std::size_t begin[kMaxParts];
  std::size_t width[kMaxParts];  // >= 1

  // widths must be one or two, all >= 1, and sum to dim; std::invalid_argument otherwise.
  static Parts from_widths(const std::vector<std::size_t>& widths, std::size_t dim);

  std::size_t n_quads(std::size_t part) const { return part < count ? (width[part] + 3) / 4 : 0; }
  std::size_t n_quads() const { return n_quads(0) + n_quads(1); }
};

// The arrays as they are stored; docs/catalogue.md gives their meaning.
struct IndexArrays {
  const std::uint8_t* codes;     // (n_blocks, n_quads, 64, 4)
  const std::uint32_t* rows;     // (n_blocks, 64)
  const std::uint32_t* cluster;  // (n_blocks,)
  const float* bounds;           // (n_parts, 7, n_blocks)
  const float* centres;          // (n_clusters, dim)
  std::size_t n_blocks;
  std::size_t n_clusters;
};

// Order of the second axis of `bounds`.
enum class Bound { kScale, kCodeError, kCodeNorm, kNorm, kAlongMin, kAlongMax, kAcross };

class BlockIndex {
 public:
  // Checks everything that memory safety and finite arithmetic need: throws std::invalid_argument.
  BlockIndex(const IndexArrays& arrays, const Parts& parts, std::size_t n_items);

  BlockIndex(const BlockIndex&) = delete;  // bounds point into its own arrays
  BlockIndex& operator=(const BlockIndex&) = delete;

  const Parts& parts() const { return parts_; }
  std::size_t dim() const { return dim_; }
  std::size_t n_blocks() const { return arrays_.n_blocks; }
  std::size_t n_clusters() const { return arrays_.n_clusters; }
  const IndexArrays& arrays() const { return arrays_; }

  std::size_t block_bytes() const { return parts_.n_quads() * kQuadBytes; }
  const std::uint8_t* codes(std::size_t block) const { return arrays_.codes + block * block_bytes(); }
  // Whether codes are worth asking for ahead of their use: those that the second-level cache holds are not.
  bool is_worth_fetching() const { return n_blocks() * block_bytes() > kCacheBytes; }
  void prefetch(std::size_t block) const {
    for (std::size_t at = 0; at < block_bytes(); at += 64) __builtin_prefetch(codes(block) + at, 0, 2);
  }
  // The same of a block that follows one asked for before: the hardware goes on by itself.
  void prefetch_start(std::size_t block) const {
    for (std::size_t at = 0; at < 8 * 64 && at < block_bytes(); at += 64)
      __builtin_prefetch(codes(block) + at, 0, 2);
  }
  void prefetch_bounds(std::size_t block) const {
    __builtin_prefetch(&block_bounds_[block]);  // which may straddle two lines
    __builtin_prefetch(&block_bounds_[block].underflow);
    __builtin_prefetch(&filled_[block]);
  }
  const std::uint32_t* rows(std::size_t block) const { return arrays_.rows + block * kBlockItems; }
  // Bit j is set when slot j holds an item.
  std::uint64_t filled_slots(std::size_t block) const { return filled_[block]; }
  std::size_t cluster(std::size_t block) const { return arrays_.cluster[block]; }
  const std::uint32_t* cluster_begin() const { return cluster_begin_.data(); }
  const float* centres(std::size_t part) const { return centres_[part].data(); }  // (n_clusters, width)

  const PartBounds& part_bounds(std::size_t part) const { return part_bounds_[part]; }
  // Bounds that hold for all blocks of a cluster, arrays of (n_clusters,). Without scale and code_norm.
  PartBounds cluster_bounds(std::size_t part) const;
  // In the place of cluster_begin() where each cluster counts as one block: 0, 1, ... n_clusters.
  const std::uint32_t* one_each() const { return one_each_.data(); }
  const BlockBounds& block_bounds(std::size_t block) const { return block_bounds_[block]; }
  const float* bound(std::size_t part, Bound kind) const {
    return arrays_.bounds + (part * kBoundKinds + static_cast<std::size_t>(kind)) * arrays_.n_blocks;
  }

  // Blocks by falling norm of their longest item.
  const std::vector<std::uint32_t>& longest_first() const { return longest_first_; }

  // Largest size of any bound of a part over all blocks.
  float largest_bound(std::size_t part) const { return largest_bound_[part]; }

  // Recomputes what every bound claims from vectors and codes; std::invalid_argument names a bound that does
  // not hold. Reads everything.
  void check_bounds(const CatalogueView& catalogue) const;

 private:
  void check_slots(std::size_t n_items);
  void check_clusters();
  void check_values();
  void derive();
  void derive_clusters(std::size_t part);
  void derive_order();

  IndexArrays arrays_;
  Parts parts_;
  std::size_t dim_;
  std::vector<std::uint64_t> filled_;
  std::vector<std::uint32_t> cluster_begin_;  // (n_clusters + 1,)
  std::vector<std::uint32_t> one_each_;
  std::vector<float> centres_[kMaxParts];
  std::vector<float> norm_slack_[kMaxParts];
  std::vector<float> code_error_slack_[kMaxParts];
  std::vector<float> cluster_bounds_[kMaxParts];  // (4, n_clusters): along_min, along_max, across, norm_slack
  float largest_bound_[kMaxParts] = {0.0f, 0.0f};
  PartBounds part_bounds_[kMaxParts] = {};
  std::vector<BlockBounds> block_bounds_;
  std::vector<std::uint32_t> longest_first_;
};

}  // namespace dpr
