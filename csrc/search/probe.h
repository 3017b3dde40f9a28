// One query as the index sees it: its codes, its terms against every cluster, and those of its away experts,
// which are negated, so that an upper bound on <-z, v> is a lower one on <z, v>.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "dispatch.h"
#include "index/block_index.h"
#include "index/coded_vectors.h"
#include "score_rule.h"
#include "search/query_state.h"

namespace dpr {

// along[c] = <x, u_c>, canonical; across[c] >= the length of x off the line of u_c. For one part of x, of
// length at most norm.
void cluster_terms(const BlockIndex& index, const KernelTable& kernels, std::size_t part,
                   const float* vector_part, float norm, float* along, float* across);

// A coded vector and, by part, its terms against the clusters. Bounds are on canonical dot products with
// items. Owns nothing: a view into a ProbeSet.
class ProbeVector {
 public:
  // Parts whose norm is not 0; part 0 always counts.
  std::size_t n_parts() const { return n_parts_; }
  const float* along(std::size_t part) const { return along_[part]; }
  const float* across(std::size_t part) const { return across_[part]; }

  // Adds the bounds of all blocks, or of all clusters, to `upper`.
  void add_block_bounds(float* upper) const;
  void add_cluster_bounds(const std::uint32_t* one_each, float* upper) const;

  float block_upper(std::size_t block) const;
  // What code sums may lack of dot products in a block.
  float code_error(std::size_t block) const;

  // For each of n <= kMostBlocks blocks, the slots whose dot product may reach the floor; empty ones never.
  static constexpr std::size_t kMostBlocks = 16;
  void slots_of_blocks(const std::uint32_t* blocks, std::size_t n, float floor, std::uint64_t* slots) const;

  // Slots whose approximate dot product is at least `least`, and possibly a few more; empty ones never.
  std::uint64_t slots_at_least(std::size_t block, float least) const;

  // approximate[j] + code_error(block) bounds the dot product of slot j. Room for kBlockItems.
  void approximate_block(std::size_t block, float* approximate) const;

 private:
  friend class ProbeSet;

  ProbeVector(const BlockIndex& index, const KernelTable& kernels, const CodedVectors& coded,
              std::size_t place)
      : index_(&index), kernels_(&kernels), coded_(&coded), place_(place) {}

  float norm(std::size_t part) const { return coded_->norm(part)[place_]; }

  const BlockIndex* index_;
  const KernelTable* kernels_;
  const CodedVectors* coded_;
  std::size_t place_;
  std::size_t n_parts_ = 1;
  std::size_t fetch_ahead_ = 0;
  const float* along_[kMaxParts] = {nullptr, nullptr};
  const float* across_[kMaxParts] = {nullptr, nullptr};
};

// Probe vectors and the memory that they look at.
class ProbeSet {
 public:
  ProbeSet(const BlockIndex& index, const KernelTable& kernels, std::size_t n, std::size_t lanes = 1);
  ProbeSet(const ProbeSet&) = delete;
  ProbeSet& operator=(const ProbeSet&) = delete;

  // Fills the next place.
  void add(const float* vector);

  const ProbeVector& operator[](std::size_t place) const { return vectors_[place]; }
  std::size_t size() const { return vectors_.size(); }
  const CodedVectors& coded() const { return coded_; }

 private:
  const BlockIndex& index_;
  const KernelTable& kernels_;
  CodedVectors coded_;
  std::vector<float> terms_;  // (n, parts, 2, n_clusters)
  std::vector<ProbeVector> vectors_;
};

// The penalty side of a probe: nothing without away experts.
class AwayProbe {
 public:
  AwayProbe(const BlockIndex& index, const KernelTable& kernels, const SteeredQuery& steered,
            const ScoreRule& rule);

  bool is_empty() const { return vectors_.size() == 0; }

  // Lowers upper[b] by what the penalty takes at least; `scratch` is resized as needed.
  void lower_block_bounds(float* upper, std::vector<float>& scratch) const;
  void lower_cluster_bounds(const std::uint32_t* one_each, float* upper, std::vector<float>& scratch) const;

  // The bound of one block, lowered.
  float lower_block(std::size_t block, float upper, float floor) const;

  // Clears the bits of items whose penalised bound stays below the floor.
  std::uint64_t refine(std::size_t block, std::uint64_t mask, float floor, const ProbeVector& query) const;

 private:
  friend class AwayLower;

  void lower(const std::vector<float>& negated, std::size_t n, float* upper) const;

  const BlockIndex& index_;
  const SteeredQuery& steered_;
  const ScoreRule& rule_;
  ProbeSet vectors_;
};

// Lower bounds on penalised scores in one block.
class AwayLower {
 public:
  AwayLower(const AwayProbe& probe, std::size_t block);

  // A lower bound on the score of slot j, whose <q, v> is at least `lower`.
  float score(std::size_t j, float lower) const;

 private:
  const AwayProbe& probe_;
  std::vector<float> projections_;  // (away experts, kBlockItems): upper bounds on <z, v>
};

}  // namespace dpr
