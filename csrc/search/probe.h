// Query-side vectors as the index sees them: their codes and their terms against every cluster.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "dispatch.h"
#include "index/block_index.h"
#include "index/coded_vectors.h"

namespace dpr {

// A coded vector and, by part, its terms against the clusters. Bounds are on canonical dot products with
// items. Owns nothing: a view into a ProbeSet.
class ProbeVector {
 public:
  // Parts whose norm is not 0; part 0 always counts.
  std::size_t n_parts() const { return n_parts_; }
  const float* along(std::size_t part) const { return along_[part]; }
  const float* across(std::size_t part) const { return across_[part]; }

  float offset() const { return offset_; }

  // Adds the bounds of all blocks to `upper`; the offset is left to the caller.
  void add_block_bounds(float* upper) const;
  // Bounds of all clusters, each as high as its blocks' highest.
  void cluster_uppers(std::vector<float>& upper) const;

  float block_upper(std::size_t block) const;
  // What code sums may lack of dot products in a block.
  float code_error(std::size_t block) const;

  // For each of n <= kMostBlocks blocks, the slots whose dot product may reach the floor; empty ones never.
  static constexpr std::size_t kMostBlocks = 16;
  // The codes of the blocks `ahead` are fetched meanwhile.
  void slots_of_blocks(const std::uint32_t* blocks, std::size_t n, float floor, const std::uint32_t* ahead,
                       std::size_t n_ahead, std::uint64_t* slots) const;

  // Slots whose approximate dot product is at least `least`, and possibly a few more; empty ones never. The
  // codes at `fetched`, a block's or null, are fetched meanwhile.
  std::uint64_t slots_at_least(std::size_t block, float least, const std::uint8_t* fetched) const;

  // approximate[j] + code_error(block) + offset bounds the dot product of slot j. Room for kBlockItems.
  void approximate_block(std::size_t block, float* approximate) const;

 private:
  friend class ProbeSet;

  ProbeVector(const BlockIndex& index, const KernelTable& kernels, const CodedVectors& coded,
              std::size_t place)
      : index_(&index), kernels_(&kernels), coded_(&coded), place_(place) {}

  float norm(std::size_t part) const { return coded_->norm(part)[place_]; }  // widened, where it was

  const BlockIndex* index_;
  const KernelTable* kernels_;
  const CodedVectors* coded_;
  std::size_t place_;
  std::size_t n_parts_ = 1;
  float offset_ = 0.0f;
  const float* along_[kMaxParts] = {nullptr, nullptr};
  const float* across_[kMaxParts] = {nullptr, nullptr};
};

// Probe vectors and the memory that they look at.
class ProbeSet {
 public:
  // n vectors, not set yet. Before find_terms, only what concerns codes may be asked of them.
  ProbeSet(const BlockIndex& index, const KernelTable& kernels, std::size_t n, std::size_t lanes = 1);
  ProbeSet(const ProbeSet&) = delete;
  ProbeSet& operator=(const ProbeSet&) = delete;

  // Once a place.
  void set(std::size_t place, const float* vector, float offset);
  // The terms of all places, once they are set: centres are read once for all of them.
  void find_terms();
  // Makes the slack for roundings that of a longer vector.
  void widen(std::size_t place, std::size_t part, float norm);

  const ProbeVector& operator[](std::size_t place) const { return vectors_[place]; }
  std::size_t size() const { return vectors_.size(); }
  const Parts& parts() const { return index_.parts(); }
  const CodedVectors& coded() const { return coded_; }

 private:
  float* floats(std::size_t place) { return floats_.data() + place * (index_.dim() + parts().count); }

  const BlockIndex& index_;
  const KernelTable& kernels_;
  CodedVectors coded_;
  std::vector<float> floats_;  // (n, dim + parts): vectors and the lengths of their parts, never widened
  std::vector<float> terms_;   // (n, parts, 2, n_clusters)
  std::vector<ProbeVector> vectors_;
};

}  // namespace dpr
