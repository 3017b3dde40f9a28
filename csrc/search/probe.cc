#include "search/probe.h"

#include <algorithm>
#include <cmath>

#include "index/error_bound.h"
#include "kernels/block_bounds_portable.h"

namespace dpr {
namespace {

// along[c] = <x, u_c>, canonical; across[c] >= the length of x off the line of u_c. For one part of x, of
// length at most norm.
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

}  // namespace

ProbeSet::ProbeSet(const BlockIndex& index, const KernelTable& kernels, std::size_t n, std::size_t lanes,
                   bool with_terms)
    : index_(index),
      kernels_(kernels),
      coded_(index.parts(), n, lanes),
      with_terms_(with_terms),
      terms_(with_terms ? n * index.parts().count * 2 * index.n_clusters() : 0) {
  vectors_.reserve(n);
  for (std::size_t place = 0; place < n; ++place) {
    vectors_.push_back(ProbeVector(index_, kernels_, coded_, place));
  }
}

void ProbeSet::set(std::size_t place, const float* vector, float offset) {
  ProbeVector& probe = vectors_[place];
  const std::size_t n_clusters = index_.n_clusters();
  coded_.set(place, vector);
  probe.offset_ = offset;
  probe.n_parts_ = parts().count > 1 && coded_.norm(1)[place] > 0.0f ? 2 : 1;
  if (!with_terms_) return;
  float* terms = terms_.data() + place * parts().count * 2 * n_clusters;
  for (std::size_t p = 0; p < parts().count; ++p, terms += 2 * n_clusters) {
    probe.along_[p] = terms;
    probe.across_[p] = terms + n_clusters;
    if (p >= probe.n_parts_) continue;  // of a part that is zero, terms are
    cluster_terms(index_, kernels_, p, vector + parts().begin[p], probe.norm(p), terms, terms + n_clusters);
  }
}

void ProbeSet::widen(std::size_t place, std::size_t part, float norm) {
  coded_.widen(place, part, norm);
  if (part == 1 && norm > 0.0f) vectors_[place].n_parts_ = 2;
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
  float upper = bounds.underflow + offset_;
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

std::uint64_t ProbeVector::slots_at_least(std::size_t block, float least, const std::uint8_t* fetched) const {
  const BlockBounds& bounds = index_->block_bounds(block);
  const auto which = static_cast<std::uint32_t>(place_);
  std::uint64_t mask = 0;
  if (n_parts_ == 2) {
    kernels_->scan_parts_i8(index_->codes(block), bounds.scale, coded_->view(), &which, &least, 1, &mask,
                            fetched);
  } else {
    const std::int32_t threshold =
        clamped_floor(least * (bounds.inverse_scale * coded_->inverse_scale()[place_]));
    kernels_->scan_part_i8(index_->codes(block), coded_->view(), &which, &threshold, 1, &mask, fetched);
  }
  return mask & index_->filled_slots(block);
}

void ProbeVector::slots_of_blocks(const std::uint32_t* blocks, std::size_t n, float floor,
                                  const std::uint32_t* ahead, std::size_t n_ahead,
                                  std::uint64_t* slots) const {
  if (!index_->is_worth_fetching()) n_ahead = 0;
  if (n_parts_ == 2) {
    for (std::size_t i = 0; i < n; ++i) {
      const std::uint8_t* fetched = i < n_ahead ? index_->codes(ahead[i]) : nullptr;
      if (i > 0 && i < n_ahead && ahead[i] == ahead[i - 1] + 1) {
        index_->prefetch_start(ahead[i]);
        fetched = nullptr;
      }
      slots[i] = slots_at_least(blocks[i], floor - offset_ - code_error(blocks[i]), fetched);
    }
    return;
  }
  std::int32_t thresholds[kMostBlocks];
  const float inverse = coded_->inverse_scale()[place_];
  for (std::size_t i = 0; i < n; ++i) {
    const float least = floor - offset_ - code_error(blocks[i]);
    thresholds[i] = clamped_floor(least * (index_->block_bounds(blocks[i]).inverse_scale * inverse));
  }
  kernels_->scan_blocks_i8(index_->codes(0), index_->block_bytes(), coded_->view(),
                           static_cast<std::uint32_t>(place_), blocks, thresholds, n, ahead, n_ahead, slots);
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

}  // namespace dpr
