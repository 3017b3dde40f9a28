// Each query takes the cheapest of four ways, which all give the same answer: score a short list of items,
// scan an index alone or in a batch, or scan all float32 vectors.
#include "search/search.h"

#include <algorithm>
#include <cmath>
#include <functional>
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

// Threads share queries in pieces of this many or more, where that leaves a piece for each of them: larger
// batches read less for each query.
constexpr std::size_t kPieceQueries = 16;
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
  enum class Way { kDone, kDense, kIndexPart, kIndexParts };

  struct Chunk {
    Way way;
    States states;
  };

  using Task = std::function<void(std::size_t task, SearchCounts& counts)>;

  void steer();
  Way choose(QueryState& state, SearchCounts& counts) const;
  void score_list(QueryState& state, const std::vector<std::uint32_t>& places, SearchCounts& counts) const;
  void score_allowed(QueryState& state, SearchCounts& counts) const;
  bool has_short_list(const QueryState& state) const;
  bool may_need_no_scan() const;
  std::vector<States> share(const States& states) const;
  void run_each(std::size_t n_tasks, SearchCounts& counts, const Task& task) const;
  void prepare(const States& states, SearchCounts& counts);
  std::vector<Chunk> chunks_to_scan();
  void scan(const Chunk& chunk, std::size_t threads, SearchCounts& counts) const;
  void write(SearchResult result);

  const CatalogueState& catalogue_;
  const KernelTable& kernels_;
  const SearchRequest& request_;
  RowFilter filter_;
  std::size_t k_;
  std::vector<QueryState> states_;
  std::vector<Way> ways_;  // by query
};

void Search::steer() {
  states_.reserve(request_.queries.n_queries);
  for (std::size_t b = 0; b < request_.queries.n_queries; ++b) {
    states_.emplace_back(b, steer_query(request_.queries, b, request_.rule), k_);
  }
  ways_.assign(states_.size(), Way::kDone);
}

bool Search::has_short_list(const QueryState& state) const {
  return request_.allowed.limits() &&
         request_.allowed.rows(state.number).size() <= catalogue_.n_places() / kListShare + k_;
}

// Scores the query at once if posting lists name the few items that it may be given.
Search::Way Search::choose(QueryState& state, SearchCounts& counts) const {
  const Segment& main = catalogue_.main;
  std::vector<std::uint32_t> places;
  if (main.postings != nullptr && filter_.filters_tags(state.number) &&
      main.postings->find_passing(*request_.tag_filter, state.number, places)) {
    score_list(state, places, counts);
    return Way::kDone;
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

// With one thread, pieces are as large as they may be; with more, there are one or two for each of them, and
// as many as there are queries if those are fewer.
std::vector<States> Search::share(const States& states) const {
  const std::size_t n = states.size();
  const std::size_t threads = request_.threads;
  const std::size_t wanted =
      threads == 1 ? 1 : std::clamp<std::size_t>(n / kPieceQueries, threads, 2 * threads);
  const std::size_t n_pieces = std::min(n, std::max(wanted, (n + kLargestBatch - 1) / kLargestBatch));
  std::vector<States> pieces;
  for (std::size_t i = 0; i < n_pieces; ++i) {
    pieces.emplace_back(states.begin() + static_cast<std::ptrdiff_t>(i * n / n_pieces),
                        states.begin() + static_cast<std::ptrdiff_t>((i + 1) * n / n_pieces));
  }
  return pieces;
}

void Search::run_each(std::size_t n_tasks, SearchCounts& counts, const Task& task) const {
  std::vector<SearchCounts> own(n_tasks);
  parallel_for(n_tasks, request_.threads, [&](std::size_t i, std::size_t) {
    const FpEnvironment environment;
    task(i, own[i]);
  });
  for (const SearchCounts& part : own) counts.add(part);
  counts.n_pieces += n_tasks;
}

// Whether prepare() has work that is worth sharing.
bool Search::may_need_no_scan() const {
  return request_.allowed.limits() || catalogue_.recent.view.n_items > 0 ||
         (request_.tag_filter != nullptr && catalogue_.main.postings != nullptr);
}

// Answers queries with few items to choose from, and scores recent items for the others.
void Search::prepare(const States& states, SearchCounts& counts) {
  States to_scan;
  for (QueryState* state : states) {
    if (has_short_list(*state)) {
      score_allowed(*state, counts);
    } else {
      to_scan.push_back(state);
    }
  }
  if (catalogue_.recent.view.n_items > 0) {
    counts.n_rescored +=
        dense_scan(catalogue_.recent, filter_, kernels_, request_.rule, to_scan.data(), to_scan.size());
  }
  for (QueryState* state : to_scan) ways_[state->number] = choose(*state, counts);
}

std::vector<Search::Chunk> Search::chunks_to_scan() {
  std::vector<Chunk> chunks;
  for (const Way way : {Way::kDense, Way::kIndexPart, Way::kIndexParts}) {
    States states;
    for (QueryState& state : states_) {
      if (ways_[state.number] == way) states.push_back(&state);
    }
    for (States& piece : share(states)) chunks.push_back({way, std::move(piece)});
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
  if (chunk.states.size() > 1) {
    scan_batch(context, chunk.states.data(), chunk.states.size(), k_, chunk.way == Way::kIndexParts, counts);
    return;
  }
  scan_single(context, *chunk.states.front(), k_, threads, counts);
}

SearchCounts Search::run(SearchResult result) {
  steer();
  SearchCounts counts;
  States all;
  for (QueryState& state : states_) all.push_back(&state);
  if (may_need_no_scan()) {
    const std::vector<States> pieces = share(all);
    run_each(pieces.size(), counts, [&](std::size_t i, SearchCounts& own) { prepare(pieces[i], own); });
  } else {
    prepare(all, counts);
  }
  const std::vector<Chunk> chunks = chunks_to_scan();
  // Threads that no query is left for share the blocks of the others.
  const std::size_t each =
      std::max<std::size_t>(1, request_.threads / std::max<std::size_t>(1, chunks.size()));
  run_each(chunks.size(), counts, [&](std::size_t i, SearchCounts& own) { scan(chunks[i], each, own); });
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
