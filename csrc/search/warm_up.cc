// A first floor for a query: lower bounds from the codes of the best clusters' first blocks. No float32
// vector is read: scoring the same items exactly took nine tenths of all exact scores of a search.
#include "search/warm_up.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "index/error_bound.h"
#include "search/query_state.h"
#include "search/top_k.h"

namespace dpr {

namespace {

// Upper bounds of all clusters: the least that any line gives.
std::vector<float> cluster_uppers(const QueryLines& lines) {
  std::vector<float> least;
  lines.query().cluster_uppers(least);
  std::vector<float> upper;
  for (std::size_t line = 1; line < lines.count; ++line) {
    lines[line].cluster_uppers(upper);
    for (std::size_t c = 0; c < least.size(); ++c) least[c] = std::min(least[c], upper[c]);
  }
  return least;
}

// Measured at a million items, 500 clusters. Breadth counts more than depth: the blocks with the longest
// items come first in each cluster, and long items are what the floor is made of.
constexpr std::size_t kWarmClusters = 32;

struct Depth {
  std::size_t best;   // blocks of the best cluster
  std::size_t other;  // of each other one
};

Depth warm_depth(std::size_t k) { return {4 + k / 24, 1 + k / 48}; }

using Ranked = std::pair<float, std::uint32_t>;

// A value that at least `wanted` of the values reach, close to the largest such: bisection. Counting is SIMD
// code without branches, several times faster than a partial sort of so few.
float value_reached_by(const std::vector<float>& values, std::size_t wanted) {
  float low = *std::min_element(values.begin(), values.end());
  float high = *std::max_element(values.begin(), values.end());
  if (!std::isfinite(low) || wanted > values.size()) return low;
  for (int step = 0; step < 12; ++step) {
    const float middle = low + (high - low) / 2;
    std::size_t count = 0;
    for (std::size_t j = 0; j < values.size(); ++j) count += values[j] >= middle ? 1 : 0;
    (count >= wanted ? low : high) = middle;
  }
  return low;
}

// The best one first.
std::vector<Ranked> best_clusters(const BlockIndex& index, const QueryLines& lines) {
  const std::size_t n = index.n_clusters();
  const std::vector<float> upper = cluster_uppers(lines);
  const float cut = value_reached_by(upper, kWarmClusters);
  std::vector<Ranked> best;
  for (std::size_t c = 0; c < n && best.size() < 2 * kWarmClusters; ++c) {
    if (upper[c] >= cut) best.push_back({upper[c], static_cast<std::uint32_t>(c)});
  }
  std::iter_swap(best.begin(), std::max_element(best.begin(), best.end()));
  return best;
}

// Finds a floor by offering lower bounds on scores, item by item, to a list of the k best.
class CarefulFloor {
 public:
  CarefulFloor(const ScanContext& context, const ProbeVector& query, const AwayProbe& away,
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

void CarefulFloor::visit(std::size_t block) {
  const float error = query_.code_error(block);
  std::uint64_t slots = query_.slots_at_least(block, best_.floor() + error, nullptr);
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

// The same where any item may be returned and none is penalised: the k-th largest of many items' lower
// bounds, each the largest in its lane, is exceeded by k items, and needs no list.
class LaneFloor {
 public:
  LaneFloor(const BlockIndex& index, const KernelTable& kernels, const ProbeVector& query, std::size_t k)
      : index_(index),
        kernels_(kernels),
        query_(query),
        k_(k),
        maxima_((1 + k / 16) * kBlockItems, -std::numeric_limits<float>::infinity()) {}

  void visit(std::size_t block);
  float floor() const;

 private:
  const BlockIndex& index_;
  const KernelTable& kernels_;
  const ProbeVector& query_;
  std::size_t k_;
  std::vector<float> maxima_;  // at least four a result, in groups of kBlockItems
  std::size_t next_ = 0;       // group
};

void LaneFloor::visit(std::size_t block) {
  float dots[kBlockItems];
  query_.approximate_block(block, dots);
  for (std::uint64_t empty = ~index_.filled_slots(block); empty != 0; empty &= empty - 1) {
    dots[__builtin_ctzll(empty)] = -std::numeric_limits<float>::infinity();
  }
  kernels_.raise_maxima(dots, query_.code_error(block), maxima_.data() + next_);
  next_ = next_ + kBlockItems < maxima_.size() ? next_ + kBlockItems : 0;
}

float LaneFloor::floor() const { return value_reached_by(maxima_, k_); }

// The first blocks of the best clusters, or where there are few clusters, of all.
std::vector<std::uint32_t> promising_blocks(const BlockIndex& index, const QueryLines& lines, std::size_t k) {
  const Depth depth = warm_depth(k);
  const std::size_t most = depth.best + kWarmClusters * depth.other;
  std::vector<std::uint32_t> blocks;
  if (index.n_clusters() < 2 * kWarmClusters) {
    const auto wanted = static_cast<std::ptrdiff_t>(std::min(most, index.n_blocks() / 8));
    blocks.assign(index.longest_first().begin(), index.longest_first().begin() + wanted);
    return blocks;
  }
  blocks.reserve(2 * most);
  std::size_t wanted = depth.best;
  for (const Ranked& cluster : best_clusters(index, lines)) {
    const std::uint32_t begin = index.cluster_begin()[cluster.second];
    const std::size_t end = std::min<std::size_t>(index.cluster_begin()[cluster.second + 1], begin + wanted);
    for (std::uint32_t b = begin; b < end; ++b) blocks.push_back(b);
    wanted = depth.other;
  }
  return blocks;
}

template <class Floor>
float floor_of(const BlockIndex& index, const std::vector<std::uint32_t>& blocks, Floor floor) {
  constexpr std::size_t kAhead = 2;
  const std::size_t n_fetched = index.is_worth_fetching() ? blocks.size() : 0;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    if (i + kAhead < n_fetched) index.prefetch(blocks[i + kAhead]);
    floor.visit(blocks[i]);
  }
  return floor.floor();
}

}  // namespace

void warm_up(const ScanContext& context, const QueryLines& lines, const AwayProbe& away, QueryState& state,
             std::size_t k, SearchCounts& counts) {
  const BlockIndex& index = *context.segment.index;
  if (8 * k > context.segment.view.n_items) return;  // most blocks have to be read anyway
  const std::vector<std::uint32_t> blocks = promising_blocks(index, lines, k);
  counts.n_pairs_scanned += blocks.size();
  const bool may_be_any = away.is_empty() && !context.filter.restricts(state.number);
  const float found = may_be_any
                          ? floor_of(index, blocks, LaneFloor(index, context.kernels, lines.query(), k))
                          : floor_of(index, blocks, CarefulFloor(context, lines.query(), away, state, k));
  state.known_floor = std::max(state.known_floor, found);
}

}  // namespace dpr
