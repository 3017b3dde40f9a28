// Many queries: each block is read once, for the queries whose bound reaches it.
#include <algorithm>
#include <limits>
#include <memory>
#include <vector>

#include "index/error_bound.h"
#include "kernels/block_bounds_portable.h"
#include "search/away_probe.h"
#include "search/index_scan.h"
#include "search/penalty_lines.h"
#include "search/rescorer.h"
#include "search/scan_alone.h"
#include "search/warm_up.h"

namespace dpr {
namespace {

// In each run of blocks the first few tell how many pairs pass; where nearly all do, the rest of the run is
// scanned without asking.
constexpr std::size_t kRunBlocks = 96;
constexpr std::size_t kTrialBlocks = 32;

// Blocks are chosen a few ahead of being scanned, so that their codes are there by then: most of a small
// batch's blocks need nothing, and those that are left lie in no order that the hardware could guess.
constexpr std::size_t kGroupBlocks = 4;

// A block that some queries need: their lanes and thresholds.
struct Chosen {
  std::size_t block;
  std::size_t count;
  std::vector<std::uint32_t> which;
  std::vector<std::int32_t> sums;
  std::vector<float> scores;
};

struct Group {
  Chosen chosen[kGroupBlocks];
  std::size_t count = 0;
};

// A query has one lane, or with penalties in the batch one a line: lane = line * padded_ + query.
class BatchScan {
 public:
  BatchScan(const ScanContext& context, QueryState* const* states, std::size_t n_states, std::size_t k,
            bool both_parts);

  bool is_sparse() const;  // then the queries fare better one by one
  void run_one_by_one(std::size_t k);
  void run();
  void add_counts(SearchCounts& counts) const;

 private:
  QueryLines lines_of(std::size_t query) const {
    return {probes_, query, padded_, count_lines(states_[query]->steered)};
  }
  void prepare(std::size_t k);
  void lay_out_terms(std::size_t first_lane);
  void set_floor(std::size_t query);
  QueryBounds bounds_at(std::size_t cluster, std::size_t line) const;
  void prefetch_terms(std::size_t at) const;
  void select_next(Group& group);
  std::size_t select(std::size_t block, bool all, Chosen& chosen);
  std::size_t select_by_lines(std::size_t block, Chosen& chosen);
  void choose_lane(std::size_t block, std::size_t lane, std::size_t at, Chosen& chosen);
  void scan(const Group& group, const Group& next);
  void scan_block(const Chosen& chosen, const std::uint8_t* fetched);
  void push_items(std::size_t block, std::size_t query, std::uint64_t mask);

  const ScanContext& context_;
  const BlockIndex& index_;
  QueryState* const* states_;
  std::size_t n_states_;
  std::size_t n_parts_;
  std::size_t n_lines_;
  std::size_t padded_;
  std::size_t n_lanes_;
  ProbeSet probes_;                      // by lane
  std::vector<float> along_[kMaxParts];  // (n_clusters, n_lanes_)
  std::vector<float> across_[kMaxParts];
  std::vector<float> floors_;  // by lane, less the lane's offset; +inf where there is no query
  std::vector<std::unique_ptr<AwayProbe>> away_;
  Rescorer rescorer_;
  std::vector<Pending> pending_;
  std::vector<float> uppers_;         // of one block, all lanes
  std::vector<std::uint64_t> masks_;  // of one block, chosen lanes
  SearchCounts counts_;
  // Where the choice of blocks has come to.
  std::size_t next_ = 0;  // in longest_first()
  bool all_ = false;
  std::uint64_t n_before_ = 0;
};

// Up to this size, batches are asked by a sample how much they need: where each query needs few blocks, few
// are shared, and choosing the queries of every block costs more than sharing saves. The shares of all blocks
// that the queries need must add up to this much for each line that bounds them (measured for 2 to 32
// queries).
constexpr std::size_t kMostWeighed = 16;
constexpr std::size_t kSampleBlocks = 64;
constexpr double kLeastShare = 0.5;

bool may_need(std::size_t block, const QueryLines& lines, float floor) {
  for (std::size_t line = 0; line < lines.count; ++line) {
    if (lines[line].block_upper(block) < floor) return false;
  }
  return true;
}

std::size_t most_lines(QueryState* const* states, std::size_t n_states) {
  std::size_t most = 1;
  for (std::size_t i = 0; i < n_states; ++i) most = std::max(most, count_lines(states[i]->steered));
  return most;
}

BatchScan::BatchScan(const ScanContext& context, QueryState* const* states, std::size_t n_states,
                     std::size_t k, bool both_parts)
    : context_(context),
      index_(*context.segment.index),
      states_(states),
      n_states_(n_states),
      n_parts_(both_parts ? 2 : 1),
      n_lines_(most_lines(states, n_states)),
      padded_((n_states + kQueryLanes - 1) / kQueryLanes * kQueryLanes),
      n_lanes_(n_lines_ * padded_),
      probes_(index_, context.kernels, n_lanes_),
      floors_(n_lanes_, std::numeric_limits<float>::infinity()),
      rescorer_(context.segment, context.filter, context.kernels, context.rule),
      pending_(n_states),
      uppers_(n_lanes_),
      masks_(padded_) {
  prepare(k);
}

// Terms are computed lane by lane and needed cluster by cluster: sixteen lanes are turned at a time, so that
// whole cache lines are written.
void BatchScan::lay_out_terms(std::size_t first_lane) {
  const std::size_t n_clusters = index_.n_clusters();
  const std::size_t first_query = first_lane % padded_;
  const std::size_t count = std::min(kQueryLanes, n_states_ - first_query);
  for (std::size_t p = 0; p < n_parts_; ++p) {
    for (std::size_t c = 0; c < n_clusters; ++c) {
      const std::size_t line = c * n_lanes_ + first_lane;
      for (std::size_t i = 0; i < count; ++i) {
        along_[p][line + i] = probes_[first_lane + i].along(p)[c];
        across_[p][line + i] = probes_[first_lane + i].across(p)[c];
      }
    }
  }
}

void BatchScan::set_floor(std::size_t query) {
  const double floor = states_[query]->floor();
  floors_[query] = states_[query]->floor();
  for (std::size_t lane = query + padded_; lane < n_lanes_; lane += padded_) {
    floors_[lane] = round_down(floor - double{probes_[lane].offset()});
  }
}

void BatchScan::prepare(std::size_t k) {
  for (std::size_t i = 0; i < n_states_; ++i) {
    set_lines(states_[i]->steered, context_.rule, n_lines_, probes_, i, padded_);
  }
  probes_.find_terms();
  for (std::size_t i = 0; i < n_states_; ++i) {
    QueryState& state = *states_[i];
    away_.push_back(std::make_unique<AwayProbe>(index_, context_.kernels, state.steered, context_.rule));
    warm_up(context_, lines_of(i), *away_[i], state, k, counts_);
    set_floor(i);
  }
}

bool BatchScan::is_sparse() const {
  if (n_states_ > kMostWeighed) return false;
  const std::size_t step = index_.n_blocks() / kSampleBlocks + 1;
  std::size_t n_asked = 0;
  std::size_t n_needed = 0;
  for (std::size_t block = step / 2; block < index_.n_blocks(); block += step) {
    ++n_asked;
    for (std::size_t i = 0; i < n_states_; ++i) n_needed += may_need(block, lines_of(i), states_[i]->floor());
  }
  return static_cast<double>(n_needed) < kLeastShare * static_cast<double>(n_lines_ * n_asked);
}

void BatchScan::run_one_by_one(std::size_t k) {
  for (std::size_t i = 0; i < n_states_; ++i) {
    scan_alone(context_, lines_of(i), *away_[i], *states_[i], k, 1, counts_);
  }
}

QueryBounds BatchScan::bounds_at(std::size_t cluster, std::size_t line) const {
  const CodedVectors& coded = probes_.coded();
  const std::size_t first = line * padded_;
  QueryBounds bounds{};
  bounds.n = padded_;
  bounds.floor = floors_.data() + first;
  bounds.inverse_scale = coded.inverse_scale() + first;
  for (std::size_t p = 0; p < n_parts_; ++p) {
    bounds.norm[p] = coded.norm(p) + first;
    bounds.code_error[p] = coded.code_error(p) + first;
    bounds.rounding[p] = coded.rounding(p) + first;
    bounds.along[p] = along_[p].data() + cluster * n_lanes_ + first;
    bounds.across[p] = across_[p].data() + cluster * n_lanes_ + first;
  }
  return bounds;
}

std::size_t BatchScan::select(std::size_t block, bool all, Chosen& chosen) {
  if (n_lines_ > 1) return select_by_lines(block, chosen);
  const QueryBounds bounds = bounds_at(index_.cluster(block), 0);
  const BlockBounds& of_block = index_.block_bounds(block);
  if (n_parts_ == 2) {
    return context_.kernels.select_queries_parts(of_block, bounds, all, chosen.which.data(),
                                                 chosen.scores.data());
  }
  return context_.kernels.select_queries_part(of_block, bounds, all, chosen.which.data(), chosen.sums.data());
}

void BatchScan::choose_lane(std::size_t block, std::size_t lane, std::size_t at, Chosen& chosen) {
  const float least = floors_[lane] - probes_[lane].code_error(block);
  chosen.which[at] = static_cast<std::uint32_t>(lane);
  chosen.scores[at] = least;
  chosen.sums[at] = clamped_floor(
      least * (index_.block_bounds(block).inverse_scale * probes_.coded().inverse_scale()[lane]));
}

// A query passes if all of its lines let it, and is scanned along the tightest of them.
std::size_t BatchScan::select_by_lines(std::size_t block, Chosen& chosen) {
  for (std::size_t line = 0; line < n_lines_; ++line) {
    context_.kernels.upper_of_queries(index_.block_bounds(block), bounds_at(index_.cluster(block), line),
                                      n_parts_, uppers_.data() + line * padded_);
  }
  std::size_t count = 0;
  for (std::size_t query = 0; query < n_states_; ++query) {
    std::size_t best = query;
    float margin = uppers_[query] - floors_[query];
    for (std::size_t lane = query + padded_; lane < n_lanes_; lane += padded_) {
      const float of_lane = uppers_[lane] - floors_[lane];
      best = of_lane < margin ? lane : best;
      margin = of_lane < margin ? of_lane : margin;
    }
    if (margin >= 0.0f) choose_lane(block, best, count++, chosen);
  }
  return count;
}

// Asks for what the choice of blocks to come takes: they lie in no order, and neither do their clusters.
void BatchScan::prefetch_terms(std::size_t at) const {
  constexpr std::size_t kBoundsAhead = 16;
  constexpr std::size_t kTermsAhead = 4;
  const std::vector<std::uint32_t>& order = index_.longest_first();
  if (!index_.is_worth_fetching() || at + kBoundsAhead >= order.size()) return;
  const std::uint32_t later = order[at + kBoundsAhead];
  index_.prefetch_bounds(later);
  __builtin_prefetch(&index_.arrays().cluster[later]);
  const std::size_t row = index_.cluster(order[at + kTermsAhead]) * n_lanes_;
  for (std::size_t p = 0; p < n_parts_; ++p) {
    for (std::size_t lane = 0; lane < n_lanes_; lane += 64 / sizeof(float)) {
      __builtin_prefetch(&along_[p][row + lane]);
      __builtin_prefetch(&across_[p][row + lane]);
    }
  }
}

// Fills a group with the next blocks that any query needs. Longest items first: they raise every floor early.
void BatchScan::select_next(Group& group) {
  const std::vector<std::uint32_t>& order = index_.longest_first();
  group.count = 0;
  // Codes that lie in the cache need no lead, and floors are worth more fresh.
  const std::size_t wanted = index_.is_worth_fetching() ? kGroupBlocks : 1;
  for (; next_ < order.size() && group.count < wanted; ++next_) {
    if (next_ % kRunBlocks == 0) {
      all_ = false;
      n_before_ = counts_.n_pairs_scanned;
    } else if (next_ % kRunBlocks == kTrialBlocks) {
      all_ = 100 * (counts_.n_pairs_scanned - n_before_) >= 97 * kTrialBlocks * n_states_;
    }
    prefetch_terms(next_);
    Chosen& chosen = group.chosen[group.count];
    chosen.block = order[next_];
    chosen.count = select(chosen.block, all_, chosen);
    counts_.n_pairs_scanned += chosen.count;
    group.count += chosen.count > 0 ? 1 : 0;
  }
}

void BatchScan::push_items(std::size_t block, std::size_t query, std::uint64_t mask) {
  QueryState& state = *states_[query];
  if (!away_[query]->is_empty()) mask = away_[query]->refine(block, mask, state.floor(), probes_[query]);
  for (; mask != 0; mask &= mask - 1) {
    rescorer_.push(state, pending_[query], index_.rows(block)[__builtin_ctzll(mask)]);
  }
  set_floor(query);
}

void BatchScan::scan_block(const Chosen& chosen, const std::uint8_t* fetched) {
  const CodedQueries coded = probes_.coded().view();
  const std::uint8_t* codes = index_.codes(chosen.block);
  if (n_parts_ == 2) {
    context_.kernels.scan_parts_i8(codes, index_.block_bounds(chosen.block).scale, coded, chosen.which.data(),
                                   chosen.scores.data(), chosen.count, masks_.data(), fetched);
  } else {
    context_.kernels.scan_part_i8(codes, coded, chosen.which.data(), chosen.sums.data(), chosen.count,
                                  masks_.data(), fetched);
  }
  const std::uint64_t filled = index_.filled_slots(chosen.block);
  for (std::size_t i = 0; i < chosen.count; ++i) {
    if ((masks_[i] & filled) != 0) push_items(chosen.block, chosen.which[i] % padded_, masks_[i] & filled);
  }
}

void BatchScan::scan(const Group& group, const Group& next) {
  const std::size_t n_fetched = index_.is_worth_fetching() ? next.count : 0;
  for (std::size_t i = 0; i < group.count; ++i) {
    scan_block(group.chosen[i], i < n_fetched ? index_.codes(next.chosen[i].block) : nullptr);
  }
}

void BatchScan::run() {
  for (std::size_t p = 0; p < n_parts_; ++p) {
    along_[p].resize(index_.n_clusters() * n_lanes_);
    across_[p].resize(along_[p].size());
  }
  for (std::size_t first = 0; first < n_lanes_; first += kQueryLanes) lay_out_terms(first);
  Group groups[2];
  for (Group& group : groups) {
    for (Chosen& chosen : group.chosen) {
      chosen.which.resize(padded_ + kQueryLanes);
      chosen.sums.resize(chosen.which.size());
      chosen.scores.resize(chosen.which.size());
    }
  }
  select_next(groups[0]);
  for (std::size_t now = 0; groups[now].count > 0; now = 1 - now) {
    select_next(groups[1 - now]);
    scan(groups[now], groups[1 - now]);
  }
  for (std::size_t i = 0; i < n_states_; ++i) rescorer_.flush(*states_[i], pending_[i]);
  counts_.n_pairs += index_.n_blocks() * n_states_;
}

void BatchScan::add_counts(SearchCounts& counts) const {
  counts.add(counts_);
  counts.n_rescored += rescorer_.n_rescored();
}

}  // namespace

void scan_batch(const ScanContext& context, QueryState* const* states, std::size_t n_states, std::size_t k,
                bool both_parts, SearchCounts& counts) {
  BatchScan scan(context, states, n_states, k, both_parts);
  if (scan.is_sparse()) {
    scan.run_one_by_one(k);
  } else {
    scan.run();
  }
  scan.add_counts(counts);
}

}  // namespace dpr
