// Each query takes the cheapest of four ways, which all give the same answer: score a short list of items,
// scan an index alone or in a batch, or scan all float32 vectors.
#include "search/search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "fp_environment.h"
#include "search/dense_scan.h"
#include "search/index_scan.h"
#include "search/posting_lists.h"
#include "search/rescorer.h"
#include "threads/parallel_for.h"

namespace dpr {
namespace {

// Fewer queries than this share several threads better than blocks.
constexpr std::size_t kSmallestBatch = 8;
// Terms of so many queries against all clusters stay in the second-level cache.
constexpr std::size_t kLargestBatch = 256;
// Lists of allowed rows up to this share of the items are scored one by one.
constexpr std::size_t kListShare = 16;

using States = std::vector<QueryState*>;

class Search {
 public:
  Search(const CatalogueState& catalogue, const KernelTable& kernels, const SearchRequest& request)
      : catalogue_(catalogue),
        kernels_(kernels),
        request_(request),
        filter_{catalogue.hidden, request.exclusions, request.allowed, request.tag_filter},
        k_(std::max<std::size_t>(1, std::min(request.k, catalogue.n_places()))) {}

  SearchCounts run(SearchResult result);

 private:
  enum class Way { kList, kDense, kIndexPart, kIndexParts };

  struct Chunk {
    Way way;
    States states;
  };

  void steer();
  Way choose(QueryState& state, std::vector<std::uint32_t>& places) const;
  void score_list(QueryState& state, const std::vector<std::uint32_t>& places, SearchCounts& counts) const;
  void score_allowed(QueryState& state, SearchCounts& counts) const;
  bool has_short_list(const QueryState& state) const;
  std::vector<Chunk> chunk(Way way, const States& states) const;
  void scan(const Chunk& chunk, std::size_t threads, SearchCounts& counts) const;
  void write(SearchResult result);

  const CatalogueState& catalogue_;
  const KernelTable& kernels_;
  const SearchRequest& request_;
  RowFilter filter_;
  std::size_t k_;
  std::vector<QueryState> states_;
};

void Search::steer() {
  states_.reserve(request_.queries.n_queries);
  for (std::size_t b = 0; b < request_.queries.n_queries; ++b) {
    states_.emplace_back(b, steer_query(request_.queries, b, request_.rule), k_);
  }
}

bool Search::has_short_list(const QueryState& state) const {
  return request_.allowed.limits() &&
         request_.allowed.rows(state.number).size() <= catalogue_.n_places() / kListShare + k_;
}

// Fills `places` for Way::kList.
Search::Way Search::choose(QueryState& state, std::vector<std::uint32_t>& places) const {
  const Segment& main = catalogue_.main;
  if (main.postings != nullptr && filter_.filters_tags(state.number) &&
      main.postings->find_candidates(*request_.tag_filter, state.number, places)) {
    return Way::kList;
  }
  if (main.index == nullptr || !is_within_bounds(*main.index, state.steered)) return Way::kDense;
  return needs_both_parts(*main.index, state.steered) ? Way::kIndexParts : Way::kIndexPart;
}

void Search::score_list(QueryState& state, const std::vector<std::uint32_t>& places,
                        SearchCounts& counts) const {
  Rescorer rescorer(catalogue_.main, filter_, kernels_, request_.rule);
  Pending pending;
  for (const std::uint32_t place : places) rescorer.push(state, pending, place);
  rescorer.flush(state, pending);
  counts.n_rescored += rescorer.n_rescored();
}

void Search::score_allowed(QueryState& state, SearchCounts& counts) const {
  for (const Segment* segment : {&catalogue_.main, &catalogue_.recent}) {
    Rescorer rescorer(*segment, filter_, kernels_, request_.rule);
    Pending pending;
    for (const std::int64_t row : request_.allowed.rows(state.number)) {
      const std::size_t place = segment->place(row);
      if (place < segment->view.n_items) rescorer.push(state, pending, place);
    }
    rescorer.flush(state, pending);
    counts.n_rescored += rescorer.n_rescored();
  }
}

// With one thread, chunks are as large as they may be; with more, there are some for each of them.
std::vector<Search::Chunk> Search::chunk(Way way, const States& states) const {
  const std::size_t share = (states.size() + 2 * request_.threads - 1) / (2 * request_.threads);
  const std::size_t wanted = request_.threads == 1 ? states.size() : std::max(share, std::size_t{16});
  const std::size_t size = std::clamp<std::size_t>(wanted, 1, kLargestBatch);
  std::vector<Chunk> chunks;
  for (std::size_t first = 0; first < states.size(); first += size) {
    const std::size_t end = std::min(states.size(), first + size);
    chunks.push_back({way, States(states.begin() + static_cast<std::ptrdiff_t>(first),
                                  states.begin() + static_cast<std::ptrdiff_t>(end))});
  }
  return chunks;
}

void Search::scan(const Chunk& chunk, std::size_t threads, SearchCounts& counts) const {
  if (chunk.way == Way::kDense) {
    counts.n_rescored += dense_scan(catalogue_.main, filter_, kernels_, request_.rule, chunk.states.data(),
                                    chunk.states.size());
    return;
  }
  const ScanContext context{catalogue_.main, filter_, kernels_, request_.rule};
  if (chunk.states.size() >= (threads > 1 ? kSmallestBatch : 2)) {
    scan_batch(context, chunk.states.data(), chunk.states.size(), k_, chunk.way == Way::kIndexParts, counts);
    return;
  }
  for (QueryState* state : chunk.states) scan_single(context, *state, k_, threads, counts);
}

SearchCounts Search::run(SearchResult result) {
  steer();
  SearchCounts counts;
  States to_scan;
  for (QueryState& state : states_) {
    if (has_short_list(state)) {
      score_allowed(state, counts);
    } else {
      to_scan.push_back(&state);
    }
  }
  if (catalogue_.recent.view.n_items > 0) {
    counts.n_rescored +=
        dense_scan(catalogue_.recent, filter_, kernels_, request_.rule, to_scan.data(), to_scan.size());
  }
  States by_way[4];
  std::vector<std::uint32_t> places;
  for (QueryState* state : to_scan) {
    const Way way = choose(*state, places);
    if (way == Way::kList) {
      score_list(*state, places, counts);
    } else {
      by_way[static_cast<std::size_t>(way)].push_back(state);
    }
  }
  std::vector<Chunk> chunks;
  for (const Way way : {Way::kDense, Way::kIndexPart, Way::kIndexParts}) {
    for (Chunk& part : chunk(way, by_way[static_cast<std::size_t>(way)])) chunks.push_back(std::move(part));
  }
  if (chunks.size() == 1) {
    scan(chunks[0], request_.threads, counts);
  } else {
    std::vector<SearchCounts> own(chunks.size());
    parallel_for(chunks.size(), request_.threads, [&](std::size_t i, std::size_t) {
      const FpEnvironment environment;
      scan(chunks[i], 1, own[i]);
    });
    for (const SearchCounts& part : own) counts.add(part);
  }
  write(result);
  return counts;
}

void Search::write(SearchResult result) {
  for (QueryState& state : states_) {
    const std::vector<Candidate> sorted = state.best.take_sorted();
    std::int64_t* rows = result.rows + state.number * request_.k;
    float* scores = result.scores + state.number * request_.k;
    std::fill_n(rows, request_.k, std::int64_t{-1});
    std::fill_n(scores, request_.k, -std::numeric_limits<float>::infinity());
    for (std::size_t i = 0; i < sorted.size(); ++i) {
      if (!std::isfinite(sorted[i].score)) {
        throw std::invalid_argument("query " + std::to_string(state.number) + ": score of item row " +
                                    std::to_string(sorted[i].row) +
                                    ": expected a finite float32, got an overflow of the inputs' products");
      }
      rows[i] = sorted[i].row;
      scores[i] = sorted[i].score;
    }
  }
}

}  // namespace

SearchCounts search(const CatalogueState& catalogue, const KernelTable& kernels, const SearchRequest& request,
                    SearchResult result) {
  const FpEnvironment environment;
  return Search(catalogue, kernels, request).run(result);
}

}  // namespace dpr
