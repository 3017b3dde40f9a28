// The search loop. <q, v> bounds a score from above (a penalty is never negative, and rounding is monotone),
// so a row whose <q, v> the heap would not admit is dropped before its exclusion and penalty are looked at.
#include "scorer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "fp_environment.h"
#include "gating.h"
#include "penalty.h"
#include "top_k.h"

namespace dpr {
namespace {

// A tile is read once from memory for the whole batch, and fits the first-level cache with room to spare:
// against 128 KiB, which fits the second, batches of 16 and 32 take a fifth less time and single queries the
// same. Small tiles also raise the heap's floor early, before penalties are computed.
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

class Search {
 public:
  Search(const CatalogueView& catalogue, const KernelTable& kernels, const SearchRequest& request);

  void run();
  void write(SearchResult result);

 private:
  struct Tile {
    std::size_t first_row;
    std::size_t n_rows;
    const float* vectors;
  };

  void visit(const Tile& tile, std::size_t query);
  std::size_t score_tile(const Tile& tile, std::size_t query, bool filtered);
  std::size_t keep_candidates(const Tile& tile, std::size_t query, std::size_t n_scored, bool filtered);
  void penalise(const Tile& tile, std::size_t query, std::size_t n_kept);

  const CatalogueView& catalogue_;
  const KernelTable& kernels_;
  const SearchRequest& request_;
  std::size_t tile_rows_;
  std::vector<SteeredQuery> steered_;
  std::vector<TopK> best_;
  // Scratch of one (tile, query); places count from the tile's first row.
  std::vector<std::uint32_t> places_;
  std::vector<float> dots_;
  std::vector<float> projections_;  // (away experts, tile_rows_)
};

Search::Search(const CatalogueView& catalogue, const KernelTable& kernels, const SearchRequest& request)
    : catalogue_(catalogue),
      kernels_(kernels),
      request_(request),
      tile_rows_(rows_per_tile(catalogue.dim)),
      places_(tile_rows_),
      dots_(tile_rows_) {
  const std::size_t n_queries = request.queries.n_queries;
  std::size_t most_away = 0;
  steered_.reserve(n_queries);
  best_.reserve(n_queries);
  for (std::size_t b = 0; b < n_queries; ++b) {
    steered_.push_back(steer_query(request.queries, b, request.rule));
    best_.emplace_back(std::min(request.k, catalogue.n_items));
    most_away = std::max(most_away, steered_[b].away.size());
  }
  projections_.resize(most_away * tile_rows_);
}

void Search::run() {
  for (std::size_t first = 0; first < catalogue_.n_items; first += tile_rows_) {
    const std::size_t n_rows = std::min(tile_rows_, catalogue_.n_items - first);
    const Tile tile{first, n_rows, catalogue_.vectors + first * catalogue_.dim};
    for (std::size_t b = 0; b < steered_.size(); ++b) visit(tile, b);
  }
}

void Search::visit(const Tile& tile, std::size_t query) {
  const bool filtered = request_.tag_filter != nullptr && request_.tag_filter->restricts(query);
  const std::size_t n_scored = score_tile(tile, query, filtered);
  const std::size_t n_kept = keep_candidates(tile, query, n_scored, filtered);
  if (n_kept > 0) penalise(tile, query, n_kept);
}

// A tag filter goes before the dot products: it costs a few cycles a row and may leave few rows. Fills dots_,
// and with a filter places_; returns how many.
std::size_t Search::score_tile(const Tile& tile, std::size_t query, bool filtered) {
  const float* vector = steered_[query].vector.data();
  if (!filtered) {
    kernels_.dot_rows_f32(vector, tile.vectors, tile.n_rows, catalogue_.dim, dots_.data());
    return tile.n_rows;
  }
  const std::uint64_t* tag_bits = catalogue_.tag_bits + tile.first_row * catalogue_.n_tag_words;
  const std::size_t n_passing = request_.tag_filter->select(query, tag_bits, tile.n_rows, places_.data());
  kernels_.dot_gather_f32(vector, tile.vectors, places_.data(), n_passing, catalogue_.dim, dots_.data());
  return n_passing;
}

// Moves the rows that may still enter the heap to the front of places_ and dots_. Exclusions go after the dot
// products: they are few, and most excluded rows never get as far as being looked up.
std::size_t Search::keep_candidates(const Tile& tile, std::size_t query, std::size_t n_scored,
                                    bool filtered) {
  const TopK& best = best_[query];
  const float floor = best.floor();
  std::size_t n_kept = 0;
  for (std::size_t start = 0; start < n_scored; start += kScanRows) {
    const std::size_t end = std::min(start + kScanRows, n_scored);
    if (!any_reaches(dots_.data() + start, end - start, floor)) continue;
    for (std::size_t i = start; i < end; ++i) {
      if (dots_[i] < floor) continue;
      const std::uint32_t place = filtered ? places_[i] : static_cast<std::uint32_t>(i);
      const auto row = static_cast<std::int64_t>(tile.first_row + place);
      if (!best.admits(dots_[i], row) || request_.exclusions.contains(query, row)) continue;
      places_[n_kept] = place;
      dots_[n_kept] = dots_[i];
      ++n_kept;
    }
  }
  return n_kept;
}

void Search::penalise(const Tile& tile, std::size_t query, std::size_t n_kept) {
  const SteeredQuery& steered = steered_[query];
  for (std::size_t m = 0; m < steered.away.size(); ++m) {
    kernels_.dot_gather_f32(steered.away[m].vector, tile.vectors, places_.data(), n_kept, catalogue_.dim,
                            projections_.data() + m * tile_rows_);
  }
  TopK& best = best_[query];
  for (std::size_t i = 0; i < n_kept; ++i) {
    const auto row = static_cast<std::int64_t>(tile.first_row + places_[i]);
    if (!best.admits(dots_[i], row)) continue;  // the floor has risen since
    best.offer(penalised_score(dots_[i], projections_.data() + i, tile_rows_, steered, request_.rule), row);
  }
}

void Search::write(SearchResult result) {
  for (std::size_t b = 0; b < best_.size(); ++b) {
    const std::vector<Candidate> sorted = best_[b].take_sorted();
    std::int64_t* rows = result.rows + b * request_.k;
    float* scores = result.scores + b * request_.k;
    std::fill_n(rows, request_.k, std::int64_t{-1});
    std::fill_n(scores, request_.k, -std::numeric_limits<float>::infinity());
    for (std::size_t i = 0; i < sorted.size(); ++i) {
      if (!std::isfinite(sorted[i].score)) {
        throw std::invalid_argument("query " + std::to_string(b) + ": score of item row " +
                                    std::to_string(sorted[i].row) +
                                    ": expected a finite float32, got an overflow of the inputs' products");
      }
      rows[i] = sorted[i].row;
      scores[i] = sorted[i].score;
    }
  }
}

}  // namespace

void search(const CatalogueView& catalogue, const KernelTable& kernels, const SearchRequest& request,
            SearchResult result) {
  const FpEnvironment environment;
  Search state(catalogue, kernels, request);
  state.run();
  state.write(result);
}

}  // namespace dpr
