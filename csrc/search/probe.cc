#include "search/probe.h"

#include <algorithm>
#include <cmath>

#include "index/error_bound.h"
#include "kernels/block_bounds_portable.h"

namespace dpr {
namespace {

// Centres that are read together for all vectors, as many as half the first-level cache holds.
constexpr std::size_t kTileBytes = 16 * 1024;

// across[c] >= the length of x off the line of u_c, for one part of x, of length at most norm.
void find_across(std::size_t width, float norm, const float* along, std::size_t n, float* across) {
  // |x|^2 - <x, u>^2 with room for the rounding of `along` (3 gamma) and of these operations (8 u).
  const double room = 1.0 + 3.0 * gamma_float32(dot_roundings(width)) + 8.0 * 0x1p-24;
  const float square = round_up(double{norm} * double{norm} * room) + kUnderflowAcross;
  for (std::size_t c = 0; c < n; ++c) {
    const float rest = square - along[c] * along[c];
    across[c] = std::sqrt(rest > 0.0f ? rest : 0.0f);
  }
}

}  // namespace

ProbeSet::ProbeSet(const BlockIndex& index, const KernelTable& kernels, std::size_t n, std::size_t lanes)
    : index_(index),
      kernels_(kernels),
      coded_(index.parts(), n, lanes),
      floats_(n * (index.dim() + index.parts().count)) {
  vectors_.reserve(n);
  for (std::size_t place = 0; place < n; ++place) {
    vectors_.push_back(ProbeVector(index_, kernels_, coded_, place));
  }
}

void ProbeSet::set(std::size_t place, const float* vector, float offset) {
  ProbeVector& probe = vectors_[place];
  coded_.set(place, vector);
  probe.offset_ = offset;
  probe.n_parts_ = parts().count > 1 && coded_.norm(1)[place] > 0.0f ? 2 : 1;
  float* lengths = std::copy_n(vector, index_.dim(), floats(place));
  for (std::size_t p = 0; p < parts().count; ++p) lengths[p] = probe.norm(p);
}

void ProbeSet::find_terms() {
  const std::size_t n_clusters = index_.n_clusters();
  terms_.resize(size() * parts().count * 2 * n_clusters);
  for (std::size_t p = 0; p < parts().count; ++p) {
    const std::size_t width = parts().width[p];
    const std::size_t most = std::max<std::size_t>(1, kTileBytes / (width * sizeof(float)));
    for (std::size_t place = 0; place < size(); ++place) {
      float* terms = terms_.data() + (place * parts().count + p) * 2 * n_clusters;
      vectors_[place].along_[p] = terms;
      vectors_[place].across_[p] = terms + n_clusters;
    }
    for (std::size_t first = 0; first < n_clusters; first += most) {
      const std::size_t n = std::min(most, n_clusters - first);
      for (std::size_t place = 0; place < size(); ++place) {
        const float length = floats(place)[index_.dim() + p];
        if (length == 0.0f) continue;  // terms are zero
        float* along = terms_.data() + (place * parts().count + p) * 2 * n_clusters + first;
        kernels_.dot_rows_f32(floats(place) + parts().begin[p], index_.centres(p) + first * width, n, width,
                              along);
        find_across(width, length, along, n, along + n_clusters);
      }
    }
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

void ProbeVector::cluster_uppers(std::vector<float>& upper) const {
  upper.assign(index_->n_clusters(), underflow_slack(index_->dim()) + offset_);
  for (std::size_t p = 0; p < n_parts_; ++p) {
    kernels_->add_bounds(index_->cluster_bounds(p), index_->one_each(), index_->n_clusters(), along_[p],
                         across_[p], norm(p), upper.data());
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
  // The bounds of blocks that follow each other come by themselves.
  const bool in_a_row = n_ahead > 0 && ahead[n_ahead - 1] - ahead[0] + 1 == n_ahead;
  for (std::size_t i = 0; !in_a_row && i < n_ahead; ++i) index_->prefetch_bounds(ahead[i]);
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
