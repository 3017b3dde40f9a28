#include "search/probe.h"

#include <algorithm>
#include <cmath>

#include "index/error_bound.h"
#include "kernels/block_bounds_portable.h"
#include "penalty.h"

namespace dpr {
namespace {

// Blocks are visited in no order that the hardware could guess. Codes that the second-level cache holds are
// not worth asking for; beyond it, three blocks ahead took a tenth off single queries over a million items.
constexpr std::size_t kCacheBytes = 2 << 20;
constexpr std::size_t kFetchAhead = 3;

}  // namespace

void cluster_terms(const BlockIndex& index, const KernelTable& kernels, std::size_t part,
                   const float* vector_part, float norm, float* along, float* across) {
  const std::size_t n = index.n_clusters();
  const std::size_t width = index.parts().width[part];
  kernels.dot_rows_f32(vector_part, index.centres(part), n, width, along);
  // |x|^2 - <x, u>^2 with room for the rounding of `along` (3 gamma) and of these operations (8 u).
  const double room = 1.0 + 3.0 * gamma_float32(dot_roundings(width)) + 8.0 * 0x1p-24;
  const float square = round_up(double{norm} * double{norm} * room) + 4.0f * underflow_slack(1);
  for (std::size_t c = 0; c < n; ++c) {
    const float rest = square - along[c] * along[c];
    across[c] = std::sqrt(rest > 0.0f ? rest : 0.0f);
  }
}

ProbeSet::ProbeSet(const BlockIndex& index, const KernelTable& kernels, std::size_t n, std::size_t lanes)
    : index_(index),
      kernels_(kernels),
      coded_(index.parts(), n, lanes),
      terms_(n * index.parts().count * 2 * index.n_clusters()) {
  vectors_.reserve(n);
}

void ProbeSet::add(const float* vector) {
  const std::size_t place = vectors_.size();
  const std::size_t n_clusters = index_.n_clusters();
  coded_.set(place, vector);
  ProbeVector probe(index_, kernels_, coded_, place);
  probe.fetch_ahead_ = index_.n_blocks() * index_.block_bytes() > kCacheBytes ? kFetchAhead : 0;
  probe.n_parts_ = index_.parts().count > 1 && coded_.norm(1)[place] > 0.0f ? 2 : 1;
  float* terms = terms_.data() + place * index_.parts().count * 2 * n_clusters;
  for (std::size_t p = 0; p < probe.n_parts_; ++p, terms += 2 * n_clusters) {
    cluster_terms(index_, kernels_, p, vector + index_.parts().begin[p], probe.norm(p), terms,
                  terms + n_clusters);
    probe.along_[p] = terms;
    probe.across_[p] = terms + n_clusters;
  }
  vectors_.push_back(probe);
}

void ProbeVector::add_block_bounds(float* upper) const {
  for (std::size_t p = 0; p < n_parts_; ++p) {
    kernels_->add_bounds(index_->part_bounds(p), index_->cluster_begin(), index_->n_clusters(), along_[p],
                         across_[p], norm(p), upper);
  }
}

void ProbeVector::add_cluster_bounds(const std::uint32_t* one_each, float* upper) const {
  for (std::size_t p = 0; p < n_parts_; ++p) {
    kernels_->add_bounds(index_->cluster_bounds(p), one_each, index_->n_clusters(), along_[p], across_[p],
                         norm(p), upper);
  }
}

float ProbeVector::block_upper(std::size_t block) const {
  const BlockBounds& bounds = index_->block_bounds(block);
  const std::size_t c = index_->cluster(block);
  float upper = bounds.underflow;
  for (std::size_t p = 0; p < n_parts_; ++p) {
    const float a = along_[p][c];
    upper += std::max(bounds.along_min[p] * a, bounds.along_max[p] * a) + bounds.across[p] * across_[p][c] +
             bounds.norm_slack[p] * norm(p);
  }
  return upper;
}

float ProbeVector::code_error(std::size_t block) const {
  const BlockBounds& bounds = index_->block_bounds(block);
  float error = bounds.underflow;
  for (std::size_t p = 0; p < n_parts_; ++p) {
    error += bounds.code_error_slack[p] * norm(p) + bounds.code_norm[p] * coded_->code_error(p)[place_] +
             bounds.scale[p] * coded_->rounding(p)[place_];
  }
  return error;
}

std::uint64_t ProbeVector::slots_at_least(std::size_t block, float least) const {
  const BlockBounds& bounds = index_->block_bounds(block);
  const auto which = static_cast<std::uint32_t>(place_);
  std::uint64_t mask = 0;
  if (n_parts_ == 2) {
    kernels_->scan_parts_i8(index_->codes(block), bounds.scale, coded_->view(), &which, &least, 1, &mask);
  } else {
    const std::int32_t threshold =
        clamped_floor(least * (bounds.inverse_scale * coded_->inverse_scale()[place_]));
    kernels_->scan_part_i8(index_->codes(block), coded_->view(), &which, &threshold, 1, &mask);
  }
  return mask & index_->filled_slots(block);
}

void ProbeVector::slots_of_blocks(const std::uint32_t* blocks, std::size_t n, float floor,
                                  std::uint64_t* slots) const {
  if (n_parts_ == 2) {
    for (std::size_t i = 0; i < n; ++i) slots[i] = slots_at_least(blocks[i], floor - code_error(blocks[i]));
    return;
  }
  std::int32_t thresholds[kMostBlocks];
  const float inverse = coded_->inverse_scale()[place_];
  for (std::size_t i = 0; i < n; ++i) {
    const float least = floor - code_error(blocks[i]);
    thresholds[i] = clamped_floor(least * (index_->block_bounds(blocks[i]).inverse_scale * inverse));
  }
  kernels_->scan_blocks_i8(index_->codes(0), index_->block_bytes(), coded_->view(),
                           static_cast<std::uint32_t>(place_), blocks, thresholds, n, fetch_ahead_, slots);
  for (std::size_t i = 0; i < n; ++i) slots[i] &= index_->filled_slots(blocks[i]);
}

void ProbeVector::approximate_block(std::size_t block, float* approximate) const {
  const BlockBounds& bounds = index_->block_bounds(block);
  const std::uint8_t* codes = index_->codes(block);
  const std::int8_t* own = coded_->codes(place_);
  std::int32_t sums[kBlockItems];
  for (std::size_t p = 0; p < n_parts_; ++p) {
    const std::size_t n_quads = index_->parts().n_quads(p);
    kernels_->sum_part_i8(codes, own, n_quads, coded_->offset(place_, p), sums);
    kernels_->scale_sums(sums, bounds.scale[p] * coded_->scale(place_, p), p > 0, approximate);
    codes += n_quads * kQuadBytes;
    own += 4 * n_quads;
  }
}

AwayProbe::AwayProbe(const BlockIndex& index, const KernelTable& kernels, const SteeredQuery& steered,
                     const ScoreRule& rule)
    : index_(index), steered_(steered), rule_(rule), vectors_(index, kernels, steered.away.size()) {
  std::vector<float> negated(steered.away.empty() ? 0 : index.dim());
  for (const AwayExpert& away : steered.away) {
    for (std::size_t d = 0; d < index.dim(); ++d) negated[d] = -away.vector[d];
    vectors_.add(negated.data());
  }
}

// The order and rounding of penalised_score with relu, for many bounds at once.
void AwayProbe::lower(const std::vector<float>& negated, std::size_t n, float* upper) const {
  for (std::size_t i = 0; i < n; ++i) {
    float penalty = 0.0f;
    for (std::size_t m = 0; m < vectors_.size(); ++m) {
      const float x = steered_.away[m].bias - negated[m * n + i];
      penalty += steered_.away[m].gate * (x > 0.0f ? x : 0.0f);
    }
    upper[i] -= steered_.strength * penalty;
  }
}

void AwayProbe::lower_block_bounds(float* upper, std::vector<float>& scratch) const {
  const std::size_t n = index_.n_blocks();
  scratch.assign(vectors_.size() * n, underflow_slack(index_.dim()));
  for (std::size_t m = 0; m < vectors_.size(); ++m) vectors_[m].add_block_bounds(scratch.data() + m * n);
  lower(scratch, n, upper);
}

void AwayProbe::lower_cluster_bounds(const std::uint32_t* one_each, float* upper,
                                     std::vector<float>& scratch) const {
  const std::size_t n = index_.n_clusters();
  scratch.assign(vectors_.size() * n, underflow_slack(index_.dim()));
  for (std::size_t m = 0; m < vectors_.size(); ++m) {
    vectors_[m].add_cluster_bounds(one_each, scratch.data() + m * n);
  }
  lower(scratch, n, upper);
}

float AwayProbe::lower_block(std::size_t block, float upper, float floor) const {
  std::vector<float> negated(vectors_.size());
  for (std::size_t m = 0; m < vectors_.size(); ++m) negated[m] = vectors_[m].block_upper(block);
  return penalised_upper(upper, negated.data(), floor, steered_, rule_);
}

std::uint64_t AwayProbe::refine(std::size_t block, std::uint64_t mask, float floor,
                                const ProbeVector& query) const {
  float dots[kBlockItems];
  query.approximate_block(block, dots);
  const float error = query.code_error(block);
  const std::size_t n_away = vectors_.size();
  std::vector<float> projections(n_away * kBlockItems);
  std::vector<float> errors(n_away);
  for (std::size_t m = 0; m < n_away; ++m) {
    vectors_[m].approximate_block(block, projections.data() + m * kBlockItems);
    errors[m] = vectors_[m].code_error(block);
  }
  std::vector<float> negated(n_away);
  std::uint64_t kept = 0;
  for (; mask != 0; mask &= mask - 1) {
    const auto j = static_cast<std::size_t>(__builtin_ctzll(mask));
    for (std::size_t m = 0; m < n_away; ++m) negated[m] = projections[m * kBlockItems + j] + errors[m];
    const float upper = penalised_upper(dots[j] + error, negated.data(), floor, steered_, rule_);
    kept |= std::uint64_t{!(upper < floor)} << j;
  }
  return kept;
}

AwayLower::AwayLower(const AwayProbe& probe, std::size_t block)
    : probe_(probe), projections_(probe.vectors_.size() * kBlockItems) {
  for (std::size_t m = 0; m < probe.vectors_.size(); ++m) {
    float* of_expert = projections_.data() + m * kBlockItems;
    probe.vectors_[m].approximate_block(block, of_expert);
    const float error = probe.vectors_[m].code_error(block);
    for (std::size_t j = 0; j < kBlockItems; ++j) of_expert[j] = error - of_expert[j];
  }
}

float AwayLower::score(std::size_t j, float lower) const {
  return penalised_score(lower, projections_.data() + j, kBlockItems, probe_.steered_, probe_.rule_);
}

}  // namespace dpr
