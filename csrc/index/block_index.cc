// Checking the arrays of an index and deriving what every search needs of them.
#include "index/block_index.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>

#include "index/error_bound.h"

namespace dpr {
namespace {

[[noreturn]] void refuse(const std::string& what, const std::string& expected, const std::string& got) {
  throw std::invalid_argument("index: " + what + ": expected " + expected + ", got " + got);
}

std::string of_block(const char* name, std::size_t block) {
  return std::string(name) + " of block " + std::to_string(block);
}

constexpr const char* kBoundNames[kBoundKinds] = {"scale",     "code_error", "code_norm", "norm",
                                                  "along_min", "along_max",  "across"};

}  // namespace

Parts Parts::from_widths(const std::vector<std::size_t>& widths, std::size_t dim) {
  Parts parts{widths.size(), {0, 0}, {0, 0}};
  std::size_t sum = 0;
  bool any_empty = false;
  for (std::size_t p = 0; p < widths.size() && p < kMaxParts; ++p) {
    parts.begin[p] = sum;
    parts.width[p] = widths[p];
    any_empty = any_empty || widths[p] == 0 || widths[p] > dim;
    sum += widths[p];
  }
  if (widths.empty() || widths.size() > kMaxParts || any_empty || sum != dim) {
    std::string text;
    for (const std::size_t width : widths) text += (text.empty() ? "" : ", ") + std::to_string(width);
    throw std::invalid_argument("parts: expected one or two widths >= 1 that sum to " + std::to_string(dim) +
                                ", got [" + text + "]");
  }
  if (parts.n_quads() > kMaxQuads) {
    throw std::invalid_argument("parts: expected at most " + std::to_string(4 * kMaxQuads) +
                                " dimensions in an index, got " + std::to_string(dim));
  }
  return parts;
}

BlockIndex::BlockIndex(const IndexArrays& arrays, const Parts& parts, std::size_t n_items)
    : arrays_(arrays), parts_(parts), dim_(parts.begin[parts.count - 1] + parts.width[parts.count - 1]) {
  if (arrays.n_blocks == 0 || arrays.n_clusters == 0) {
    refuse("blocks and clusters", "at least one of each",
           std::to_string(arrays.n_blocks) + " and " + std::to_string(arrays.n_clusters));
  }
  check_slots(n_items);
  check_clusters();
  check_values();
  derive();
  derive_order();
}

// Each item is in exactly one slot; the slots of a block fill from the front.
void BlockIndex::check_slots(std::size_t n_items) {
  std::vector<bool> seen(n_items, false);
  filled_.resize(arrays_.n_blocks);
  std::size_t n_seen = 0;
  for (std::size_t b = 0; b < arrays_.n_blocks; ++b) {
    std::size_t n_filled = 0;
    for (std::size_t j = 0; j < kBlockItems; ++j) {
      const std::uint32_t row = rows(b)[j];
      if (row == kEmptySlot) continue;
      if (row >= n_items || seen[row] || n_filled != j) {
        refuse(of_block("rows", b), "each item of " + std::to_string(n_items) + " once, no gaps",
               std::to_string(row) + " in slot " + std::to_string(j));
      }
      seen[row] = true;
      ++n_filled;
    }
    n_seen += n_filled;
    if (n_filled == 0) refuse(of_block("rows", b), "at least one item", "none");
    filled_[b] = n_filled == kBlockItems ? ~std::uint64_t{0} : (std::uint64_t{1} << n_filled) - 1;
  }
  if (n_seen != n_items) {
    refuse("rows", "all " + std::to_string(n_items) + " items", std::to_string(n_seen) + " of them");
  }
}

void BlockIndex::check_clusters() {
  cluster_begin_.assign(arrays_.n_clusters + 1, 0);
  std::size_t next = 0;
  for (std::size_t b = 0; b < arrays_.n_blocks; ++b) {
    const std::size_t cluster = arrays_.cluster[b];
    if (cluster >= arrays_.n_clusters || (b > 0 && cluster < arrays_.cluster[b - 1])) {
      refuse(of_block("cluster", b),
             "a number below " + std::to_string(arrays_.n_clusters) + " that never falls",
             std::to_string(cluster));
    }
    for (; next <= cluster; ++next) cluster_begin_[next] = static_cast<std::uint32_t>(b);
  }
  for (; next <= arrays_.n_clusters; ++next) {
    cluster_begin_[next] = static_cast<std::uint32_t>(arrays_.n_blocks);
  }
}

void BlockIndex::check_values() {
  for (std::size_t p = 0; p < parts_.count; ++p) {
    for (std::size_t kind = 0; kind < kBoundKinds; ++kind) {
      const bool is_signed = kind == static_cast<std::size_t>(Bound::kAlongMin) ||
                             kind == static_cast<std::size_t>(Bound::kAlongMax);
      const float* values = bound(p, static_cast<Bound>(kind));
      for (std::size_t b = 0; b < arrays_.n_blocks; ++b) {
        if (std::isfinite(values[b]) && (is_signed || values[b] >= 0.0f)) continue;
        refuse(of_block(kBoundNames[kind], b), is_signed ? "a finite number" : "a finite number >= 0",
               std::to_string(values[b]));
      }
    }
    const float* scales = bound(p, Bound::kScale);
    for (std::size_t b = 0; b < arrays_.n_blocks; ++b) {
      if (scales[b] < kSmallestScale)
        refuse(of_block("scale", b), "at least 2^-60", std::to_string(scales[b]));
    }
  }
  for (std::size_t c = 0; c < arrays_.n_clusters; ++c) {
    for (std::size_t p = 0; p < parts_.count; ++p) {
      const float* centre = arrays_.centres + c * dim_ + parts_.begin[p];
      double square = 0.0;
      for (std::size_t d = 0; d < parts_.width[p]; ++d) square += double{centre[d]} * double{centre[d]};
      if (square <= 1.0) continue;  // false for NaN
      refuse("centre " + std::to_string(c), "parts no longer than 1", std::to_string(std::sqrt(square)));
    }
  }
}

void BlockIndex::derive() {
  const std::size_t n = arrays_.n_blocks;
  const double kappa = rounding_slack(dim_);
  block_bounds_.resize(n);
  one_each_.resize(arrays_.n_clusters + 1);
  std::iota(one_each_.begin(), one_each_.end(), 0u);
  for (std::size_t p = 0; p < parts_.count; ++p) {
    norm_slack_[p].resize(n);
    code_error_slack_[p].resize(n);
    for (std::size_t b = 0; b < n; ++b) {
      const double norm = bound(p, Bound::kNorm)[b];
      norm_slack_[p][b] = round_up(kappa * norm * kFloat64Slack);
      code_error_slack_[p][b] = round_up((bound(p, Bound::kCodeError)[b] + kappa * norm) * kFloat64Slack);
      // Every bound counts: with a forged one, too, sums of bounds must stay within float32.
      for (std::size_t kind = 0; kind < kBoundKinds; ++kind) {
        largest_bound_[p] = std::max(largest_bound_[p], std::fabs(bound(p, static_cast<Bound>(kind))[b]));
      }
    }
    part_bounds_[p] = {bound(p, Bound::kScale),    bound(p, Bound::kCodeNorm), bound(p, Bound::kAlongMin),
                       bound(p, Bound::kAlongMax), bound(p, Bound::kAcross),   norm_slack_[p].data(),
                       code_error_slack_[p].data()};
    for (std::size_t b = 0; b < n; ++b) {
      BlockBounds& block = block_bounds_[b];
      block.scale[p] = part_bounds_[p].scale[b];
      block.code_norm[p] = part_bounds_[p].code_norm[b];
      block.along_min[p] = part_bounds_[p].along_min[b];
      block.along_max[p] = part_bounds_[p].along_max[b];
      block.across[p] = part_bounds_[p].across[b];
      block.norm_slack[p] = part_bounds_[p].norm_slack[b];
      block.code_error_slack[p] = part_bounds_[p].code_error_slack[b];
      block.inverse_scale = 1.0f / block.scale[0];
      block.underflow = underflow_slack(dim_);
    }
    derive_clusters(p);
    centres_[p].resize(arrays_.n_clusters * parts_.width[p]);
    for (std::size_t c = 0; c < arrays_.n_clusters; ++c) {
      const float* centre = arrays_.centres + c * dim_ + parts_.begin[p];
      for (std::size_t d = 0; d < parts_.width[p]; ++d) centres_[p][c * parts_.width[p] + d] = centre[d];
    }
  }
}

void BlockIndex::derive_clusters(std::size_t part) {
  const PartBounds& blocks = part_bounds_[part];
  const std::size_t n = arrays_.n_clusters;
  std::vector<float>& bounds = cluster_bounds_[part];
  bounds.assign(4 * n, 0.0f);
  for (std::size_t c = 0; c < n; ++c) {
    for (std::size_t b = cluster_begin_[c]; b < cluster_begin_[c + 1]; ++b) {
      const bool is_first = b == cluster_begin_[c];
      bounds[c] = is_first ? blocks.along_min[b] : std::min(bounds[c], blocks.along_min[b]);
      bounds[n + c] = is_first ? blocks.along_max[b] : std::max(bounds[n + c], blocks.along_max[b]);
      bounds[2 * n + c] = std::max(bounds[2 * n + c], blocks.across[b]);
      bounds[3 * n + c] = std::max(bounds[3 * n + c], blocks.norm_slack[b]);
    }
  }
}

void BlockIndex::derive_order() {
  std::vector<double> square(arrays_.n_blocks, 0.0);
  for (std::size_t p = 0; p < parts_.count; ++p) {
    for (std::size_t b = 0; b < arrays_.n_blocks; ++b) {
      square[b] += double{bound(p, Bound::kNorm)[b]} * double{bound(p, Bound::kNorm)[b]};
    }
  }
  longest_first_.resize(arrays_.n_blocks);
  std::iota(longest_first_.begin(), longest_first_.end(), 0u);
  std::sort(longest_first_.begin(), longest_first_.end(), [&square](std::uint32_t a, std::uint32_t b) {
    return square[a] != square[b] ? square[a] > square[b] : a < b;
  });
}

PartBounds BlockIndex::cluster_bounds(std::size_t part) const {
  const float* bounds = cluster_bounds_[part].data();
  const std::size_t n = arrays_.n_clusters;
  return {nullptr, nullptr, bounds, bounds + n, bounds + 2 * n, bounds + 3 * n, nullptr};
}

}  // namespace dpr
