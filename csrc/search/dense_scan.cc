// <q, v> bounds a score from above (a penalty is never negative, and rounding is monotone), so a row whose
// <q, v> the query would not keep is dropped before its exclusion and penalty are looked at.
#include "search/dense_scan.h"

#include <algorithm>
#include <vector>

#include "penalty.h"

namespace dpr {
namespace {

// A tile is read once from memory for the whole batch, and fits the first-level cache with room to spare:
// against 128 KiB, which fits the second, batches of 16 and 32 take a fifth less time and single queries the
// same. Small tiles also raise the floor early, before penalties are computed.
constexpr std::size_t kTileBytes = 24 * 1024;
constexpr std::size_t kMinTileRows = 16;
constexpr std::size_t kMaxTileRows = 1024;
constexpr std::size_t kScanRows = 32;  // rows that one look at the floor may dismiss together

std::size_t rows_per_tile(std::size_t dim) {
  const std::size_t rows = kTileBytes / (dim * sizeof(float));
  return std::clamp(rows / kMinTileRows * kMinTileRows, kMinTileRows, kMaxTileRows);
}

// Tells whether a row may reach the floor; true for NaN. A sum as wide as the floats and no early exit: the
// compiler makes this SIMD code.
bool any_reaches(const float* dots, std::size_t count, float floor) {
  std::uint32_t n_below = 0;
  for (std::size_t i = 0; i < count; ++i) n_below += dots[i] < floor ? 1u : 0u;
  return n_below < count;
}

class DenseScan {
 public:
  DenseScan(const Segment& segment, const RowFilter& filter, const KernelTable& kernels,
            const ScoreRule& rule)
      : segment_(segment),
        filter_(filter),
        kernels_(kernels),
        rule_(rule),
        tile_rows_(rows_per_tile(segment.view.dim)),
        places_(tile_rows_),
        dots_(tile_rows_) {}

  std::uint64_t run(QueryState* const* states, std::size_t n_states);

 private:
  struct Tile {
    std::size_t first;
    std::size_t n_rows;
    const float* vectors;
  };

  void visit(const Tile& tile, QueryState& state);
  std::size_t score_tile(const Tile& tile, const QueryState& state, bool filtered);
  std::size_t keep_candidates(const Tile& tile, const QueryState& state, std::size_t n_scored, bool filtered);
  void penalise(const Tile& tile, QueryState& state, std::size_t n_kept);

  const Segment& segment_;
  const RowFilter& filter_;
  const KernelTable& kernels_;
  const ScoreRule& rule_;
  std::size_t tile_rows_;
  std::uint64_t n_scored_ = 0;
  // Scratch of one (tile, query); places count from the tile's first row.
  std::vector<std::uint32_t> places_;
  std::vector<float> dots_;
  std::vector<float> projections_;  // (away experts, tile_rows_)
};

std::uint64_t DenseScan::run(QueryState* const* states, std::size_t n_states) {
  const CatalogueView& view = segment_.view;
  for (std::size_t first = 0; first < view.n_items; first += tile_rows_) {
    const Tile tile{first, std::min(tile_rows_, view.n_items - first), view.vectors + first * view.dim};
    for (std::size_t b = 0; b < n_states; ++b) visit(tile, *states[b]);
  }
  return n_scored_;
}

void DenseScan::visit(const Tile& tile, QueryState& state) {
  const bool filtered = filter_.filters_tags(state.number);
  const std::size_t n_scored = score_tile(tile, state, filtered);
  n_scored_ += n_scored;
  const std::size_t n_kept = keep_candidates(tile, state, n_scored, filtered);
  if (n_kept > 0) penalise(tile, state, n_kept);
}

// A tag filter goes before the dot products: it costs a few cycles a row and may leave few rows. Fills dots_,
// and with a filter places_; returns how many.
std::size_t DenseScan::score_tile(const Tile& tile, const QueryState& state, bool filtered) {
  const CatalogueView& view = segment_.view;
  const float* vector = state.steered.vector.data();
  if (!filtered) {
    kernels_.dot_rows_f32(vector, tile.vectors, tile.n_rows, view.dim, dots_.data());
    return tile.n_rows;
  }
  const std::uint64_t* tag_bits = view.tag_bits + tile.first * view.n_tag_words;
  const std::size_t n_passing = filter_.tags->select(state.number, tag_bits, tile.n_rows, places_.data());
  kernels_.dot_gather_f32(vector, tile.vectors, places_.data(), n_passing, view.dim, dots_.data());
  return n_passing;
}

// Moves the rows that may still be kept to the front of places_ and dots_. Exclusions go after the dot
// products: they are few, and most excluded rows never get as far as being looked up.
std::size_t DenseScan::keep_candidates(const Tile& tile, const QueryState& state, std::size_t n_scored,
                                       bool filtered) {
  const float floor = state.floor();
  std::size_t n_kept = 0;
  for (std::size_t start = 0; start < n_scored; start += kScanRows) {
    const std::size_t end = std::min(start + kScanRows, n_scored);
    if (!any_reaches(dots_.data() + start, end - start, floor)) continue;
    for (std::size_t i = start; i < end; ++i) {
      if (dots_[i] < floor) continue;
      const std::uint32_t place = filtered ? places_[i] : static_cast<std::uint32_t>(i);
      const std::int64_t row = segment_.row(tile.first + place);
      if (!state.best.admits(dots_[i], row) || !filter_.passes_row(state.number, row)) continue;
      places_[n_kept] = place;
      dots_[n_kept] = dots_[i];
      ++n_kept;
    }
  }
  return n_kept;
}

void DenseScan::penalise(const Tile& tile, QueryState& state, std::size_t n_kept) {
  const SteeredQuery& steered = state.steered;
  projections_.resize(std::max({projections_.size(), steered.away.size() * tile_rows_, tile_rows_}));
  for (std::size_t m = 0; m < steered.away.size(); ++m) {
    kernels_.dot_gather_f32(steered.away[m].vector, tile.vectors, places_.data(), n_kept, segment_.view.dim,
                            projections_.data() + m * tile_rows_);
  }
  for (std::size_t i = 0; i < n_kept; ++i) {
    const std::int64_t row = segment_.row(tile.first + places_[i]);
    if (!state.best.admits(dots_[i], row)) continue;  // the floor has risen since
    state.best.offer(penalised_score(dots_[i], projections_.data() + i, tile_rows_, steered, rule_), row);
  }
}

}  // namespace

std::uint64_t dense_scan(const Segment& segment, const RowFilter& filter, const KernelTable& kernels,
                         const ScoreRule& rule, QueryState* const* states, std::size_t n_states) {
  return DenseScan(segment, filter, kernels, rule).run(states, n_states);
}

}  // namespace dpr
