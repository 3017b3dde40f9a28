// Many queries: each block is read once, for the queries whose bound reaches it.
#include <algorithm>
#include <limits>
#include <memory>
#include <vector>

#include "search/index_scan.h"
#include "search/probe.h"
#include "search/rescorer.h"
#include "search/warm_up.h"

namespace dpr {
namespace {

constexpr std::size_t kRunBlocks = 256;
constexpr std::size_t kTrialBlocks = 32;

class BatchScan {
 public:
  BatchScan(const ScanContext& context, QueryState* const* states, std::size_t n_states, std::size_t k,
            bool both_parts);

  void run();
  void add_counts(SearchCounts& counts) const;

 private:
  void prepare(std::size_t k);
  void lay_out_terms(std::size_t first_query);
  QueryBounds bounds_at(std::size_t cluster) const;
  std::size_t select(std::size_t block, bool all);
  std::size_t drop_penalised(std::size_t block, std::size_t count);
  void scan_block(std::size_t block, std::size_t count);
  void fetch(std::size_t block) const;
  void push_items(std::size_t block, std::size_t query, std::uint64_t mask);

  const ScanContext& context_;
  const BlockIndex& index_;
  QueryState* const* states_;
  std::size_t n_states_;
  std::size_t n_parts_;
  ProbeSet probes_;
  std::vector<float> along_[kMaxParts];  // (n_clusters, padded)
  std::vector<float> across_[kMaxParts];
  std::vector<float> floors_;  // (padded,)
  std::vector<std::unique_ptr<AwayProbe>> away_;
  bool any_away_ = false;
  Rescorer rescorer_;
  std::vector<Pending> pending_;
  // Of one block: the chosen queries, their thresholds, their items.
  std::vector<std::uint32_t> which_;
  std::vector<std::int32_t> sums_;
  std::vector<float> scores_;
  std::vector<std::uint64_t> masks_;
  SearchCounts counts_;
};

BatchScan::BatchScan(const ScanContext& context, QueryState* const* states, std::size_t n_states,
                     std::size_t k, bool both_parts)
    : context_(context),
      index_(*context.segment.index),
      states_(states),
      n_states_(n_states),
      n_parts_(both_parts ? 2 : 1),
      probes_(index_, context.kernels, n_states, kQueryLanes),
      floors_(probes_.coded().padded(), std::numeric_limits<float>::infinity()),
      rescorer_(context.segment, context.filter, context.kernels, context.rule),
      pending_(n_states),
      which_(probes_.coded().padded() + kQueryLanes),
      sums_(which_.size()),
      scores_(which_.size()),
      masks_(which_.size()) {
  prepare(k);
}

// Terms are computed query by query and needed cluster by cluster: sixteen queries are turned at a time, so
// that whole cache lines are written.
void BatchScan::lay_out_terms(std::size_t first_query) {
  const std::size_t n_clusters = index_.n_clusters();
  const std::size_t count = std::min(kQueryLanes, n_states_ - first_query);
  for (std::size_t p = 0; p < n_parts_; ++p) {
    for (std::size_t c = 0; c < n_clusters; ++c) {
      const std::size_t line = c * probes_.coded().padded() + first_query;
      for (std::size_t i = 0; i < count; ++i) {
        along_[p][line + i] = probes_[first_query + i].along(p)[c];
        across_[p][line + i] = probes_[first_query + i].across(p)[c];
      }
    }
  }
}

void BatchScan::prepare(std::size_t k) {
  for (std::size_t p = 0; p < n_parts_; ++p) {
    along_[p].resize(index_.n_clusters() * probes_.coded().padded());
    across_[p].resize(along_[p].size());
  }
  for (std::size_t i = 0; i < n_states_; ++i) {
    QueryState& state = *states_[i];
    probes_.add(state.steered.vector.data());
    away_.push_back(std::make_unique<AwayProbe>(index_, context_.kernels, state.steered, context_.rule));
    any_away_ = any_away_ || !away_[i]->is_empty();
    warm_up(context_, probes_[i], *away_[i], state, k, counts_);
    floors_[i] = state.floor();
  }
  for (std::size_t first = 0; first < n_states_; first += kQueryLanes) lay_out_terms(first);
}

QueryBounds BatchScan::bounds_at(std::size_t cluster) const {
  QueryBounds bounds{};
  bounds.n = probes_.coded().padded();
  bounds.floor = floors_.data();
  bounds.inverse_scale = probes_.coded().inverse_scale();
  for (std::size_t p = 0; p < n_parts_; ++p) {
    bounds.norm[p] = probes_.coded().norm(p);
    bounds.code_error[p] = probes_.coded().code_error(p);
    bounds.rounding[p] = probes_.coded().rounding(p);
    bounds.along[p] = along_[p].data() + cluster * probes_.coded().padded();
    bounds.across[p] = across_[p].data() + cluster * probes_.coded().padded();
  }
  return bounds;
}

std::size_t BatchScan::select(std::size_t block, bool all) {
  const QueryBounds bounds = bounds_at(index_.cluster(block));
  const BlockBounds& of_block = index_.block_bounds(block);
  if (n_parts_ == 2) {
    return context_.kernels.select_queries_parts(of_block, bounds, all, which_.data(), scores_.data());
  }
  return context_.kernels.select_queries_part(of_block, bounds, all, which_.data(), sums_.data());
}

// Queries with a penalty are few or many, but their blocks are few by now: one by one.
std::size_t BatchScan::drop_penalised(std::size_t block, std::size_t count) {
  std::size_t n_kept = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t query = which_[i];
    const float floor = floors_[query];
    which_[n_kept] = which_[i];
    sums_[n_kept] = sums_[i];
    scores_[n_kept] = scores_[i];
    const bool is_out = !away_[query]->is_empty() &&
                        away_[query]->lower_block(block, probes_[query].block_upper(block), floor) < floor;
    n_kept += is_out ? 0 : 1;
  }
  return n_kept;
}

void BatchScan::push_items(std::size_t block, std::size_t query, std::uint64_t mask) {
  QueryState& state = *states_[query];
  if (!away_[query]->is_empty()) {
    mask = away_[query]->refine(block, mask, state.floor(), probes_[query]);
  }
  for (; mask != 0; mask &= mask - 1) {
    rescorer_.push(state, pending_[query], index_.rows(block)[__builtin_ctzll(mask)]);
  }
  floors_[query] = state.floor();
}

void BatchScan::scan_block(std::size_t block, std::size_t count) {
  if (n_parts_ == 2) {
    context_.kernels.scan_parts_i8(index_.codes(block), index_.block_bounds(block).scale,
                                   probes_.coded().view(), which_.data(), scores_.data(), count,
                                   masks_.data());
  } else {
    context_.kernels.scan_part_i8(index_.codes(block), probes_.coded().view(), which_.data(), sums_.data(),
                                  count, masks_.data());
  }
  const std::uint64_t filled = index_.filled_slots(block);
  for (std::size_t i = 0; i < count; ++i) {
    if ((masks_[i] & filled) != 0) push_items(block, which_[i], masks_[i] & filled);
  }
}

void BatchScan::fetch(std::size_t block) const {
  const auto* codes = reinterpret_cast<const char*>(index_.codes(block));
  const std::size_t bytes = index_.block_bytes();
  for (std::size_t at = 0; at < bytes; at += 64) __builtin_prefetch(codes + at);
}

// Longest items first: they raise every floor early. In each run of blocks the first few tell how many pairs
// pass; where nearly all do, the rest of the run is scanned without asking.
void BatchScan::run() {
  const std::vector<std::uint32_t>& order = index_.longest_first();
  bool all = false;
  std::uint64_t n_before = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (i + 1 < order.size()) fetch(order[i + 1]);
    if (i % kRunBlocks == 0) {
      all = false;
      n_before = counts_.n_pairs_scanned;
    } else if (i % kRunBlocks == kTrialBlocks && !any_away_) {
      all = 100 * (counts_.n_pairs_scanned - n_before) >= 97 * kTrialBlocks * n_states_;
    }
    std::size_t count = select(order[i], all);
    if (any_away_) count = drop_penalised(order[i], count);
    counts_.n_pairs_scanned += count;
    if (count > 0) scan_block(order[i], count);
  }
  for (std::size_t i = 0; i < n_states_; ++i) rescorer_.flush(*states_[i], pending_[i]);
}

void BatchScan::add_counts(SearchCounts& counts) const {
  counts.add(counts_);
  counts.n_pairs += index_.n_blocks() * n_states_;
  counts.n_rescored += rescorer_.n_rescored();
}

}  // namespace

void scan_batch(const ScanContext& context, QueryState* const* states, std::size_t n_states, std::size_t k,
                bool both_parts, SearchCounts& counts) {
  BatchScan scan(context, states, n_states, k, both_parts);
  scan.run();
  scan.add_counts(counts);
}

}  // namespace dpr
