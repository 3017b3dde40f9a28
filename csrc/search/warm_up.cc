// A first floor for a query: lower bounds from the codes of the best clusters' first blocks. No float32
// vector is read: scoring the same items exactly took nine tenths of all exact scores of a search.
#include "search/warm_up.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>
#include <vector>

#include "index/error_bound.h"
#include "search/query_state.h"
#include "search/top_k.h"

namespace dpr {
namespace {

// Measured at a million items, 500 clusters. Breadth counts more than depth: the blocks with the longest
// items come first in each cluster, and long items are what the floor is made of.
constexpr std::size_t kWarmClusters = 32;

struct Depth {
  std::size_t best;   // blocks of the best cluster
  std::size_t other;  // of each other one
};

Depth warm_depth(std::size_t k) { return {4 + k / 24, 1 + k / 48}; }

using Ranked = std::pair<float, std::uint32_t>;

// Best first.
std::vector<Ranked> best_clusters(const BlockIndex& index, const ProbeVector& query, const AwayProbe& away) {
  const std::size_t n = index.n_clusters();
  std::vector<std::uint32_t> one_each(n + 1);
  std::iota(one_each.begin(), one_each.end(), 0u);
  std::vector<float> upper(n, underflow_slack(index.dim()));
  query.add_cluster_bounds(one_each.data(), upper.data());
  if (!away.is_empty()) {
    std::vector<float> scratch;
    away.lower_cluster_bounds(one_each.data(), upper.data(), scratch);
  }
  // A heap of the best, its worst in front: most clusters are dismissed by one comparison.
  std::vector<Ranked> best;
  for (std::size_t c = 0; c < n; ++c) {
    if (best.size() == kWarmClusters) {
      if (!(upper[c] > best.front().first)) continue;
      std::pop_heap(best.begin(), best.end(), std::greater<Ranked>());
      best.pop_back();
    }
    best.push_back({upper[c], static_cast<std::uint32_t>(c)});
    std::push_heap(best.begin(), best.end(), std::greater<Ranked>());
  }
  std::sort_heap(best.begin(), best.end(), std::greater<Ranked>());
  return best;
}

// Offers lower bounds on the scores of a block's items.
class FloorFinder {
 public:
  FloorFinder(const ScanContext& context, const ProbeVector& query, const AwayProbe& away,
              const QueryState& state, std::size_t k)
      : context_(context),
        index_(*context.segment.index),
        query_(query),
        away_(away),
        state_(state),
        best_(k) {}

  void visit(std::size_t block);
  float floor() const { return best_.floor(); }

 private:
  const ScanContext& context_;
  const BlockIndex& index_;
  const ProbeVector& query_;
  const AwayProbe& away_;
  const QueryState& state_;
  TopK best_;
};

void FloorFinder::visit(std::size_t block) {
  const float error = query_.code_error(block);
  std::uint64_t slots = query_.slots_at_least(block, best_.floor() + error);
  if (slots == 0) return;
  float dots[kBlockItems];
  query_.approximate_block(block, dots);
  const AwayLower away(away_, block);
  for (; slots != 0; slots &= slots - 1) {
    const auto j = static_cast<std::size_t>(__builtin_ctzll(slots));
    const float score = away.score(j, dots[j] - error);
    const std::uint32_t place = index_.rows(block)[j];
    if (score > best_.floor() && context_.filter.passes(state_.number, context_.segment, place)) {
      best_.offer(score, std::int64_t{place});
    }
  }
}

}  // namespace

void warm_up(const ScanContext& context, const ProbeVector& query, const AwayProbe& away, QueryState& state,
             std::size_t k, SearchCounts& counts) {
  const BlockIndex& index = *context.segment.index;
  const Depth depth = warm_depth(k);
  if (2 * (depth.best + kWarmClusters * depth.other) > index.n_blocks()) return;
  FloorFinder finder(context, query, away, state, k);
  std::size_t wanted = depth.best;
  for (const Ranked& cluster : best_clusters(index, query, away)) {
    const std::size_t begin = index.cluster_begin()[cluster.second];
    const std::size_t end = std::min<std::size_t>(index.cluster_begin()[cluster.second + 1], begin + wanted);
    for (std::size_t b = begin; b < end; ++b) finder.visit(b);
    counts.n_pairs_scanned += end - begin;
    wanted = depth.other;
  }
  state.known_floor = std::max(state.known_floor, finder.floor());
}

}  // namespace dpr
