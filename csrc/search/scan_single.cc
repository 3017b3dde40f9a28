// One query: the bounds of all blocks at once, then the blocks that pass, best bound
// first unless nearly all pass.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "fp_environment.h"
#include "index/error_bound.h"
#include "search/block_visitor.h"
#include "search/scan_alone.h"
#include "search/warm_up.h"
#include "threads/parallel_for.h"

namespace dpr {
namespace {

// Blocks that a thread takes at a time.
constexpr std::size_t kTaskBlocks = 32;

// Scratch of a thread that searches: large enough to be worth keeping, and no more than a few numbers a
// block.
struct Scratch {
  std::vector<float> upper;
  std::vector<float> of_line;
  std::vector<std::uint32_t> line;  // that bounds the block best
  std::vector<std::uint32_t> blocks;
  std::vector<std::uint32_t> sorted;
};

// Not inlined: its caller would ask for the thread's address again and again.
[[gnu::noinline]] Scratch& scratch_of_thread() {
  thread_local Scratch scratch;
  return scratch;
}

// Whether the other lines keep out much of what the query alone lets in, by a sample of those blocks.
bool other_lines_help(const QueryLines& lines, const std::uint32_t* blocks, std::size_t count, float floor) {
  constexpr std::size_t kSample = 128;
  std::size_t n_asked = 0;
  std::size_t n_kept_out = 0;
  for (std::size_t i = 0; i < count; i += count / kSample + 1) {
    ++n_asked;
    for (std::size_t line = 1; line < lines.count; ++line) {
      if (lines[line].block_upper(blocks[i]) >= floor) continue;
      ++n_kept_out;
      break;
    }
  }
  return 10 * n_kept_out > n_asked;
}

// Lowers upper to the least bound that any line gives a block, and notes in line which one.
void bound_by_other_lines(const BlockIndex& index, const KernelTable& kernels, const QueryLines& lines,
                          Scratch& scratch) {
  scratch.line.assign(index.n_blocks(), 0);
  for (std::size_t line = 1; line < lines.count; ++line) {
    scratch.of_line.assign(index.n_blocks(), underflow_slack(index.dim()) + lines[line].offset());
    lines[line].add_block_bounds(scratch.of_line.data());
    kernels.take_lower(scratch.of_line.data(), static_cast<std::uint32_t>(line), index.n_blocks(),
                       scratch.upper.data(), scratch.line.data());
  }
}

// Orders the chosen blocks roughly by falling bound: a counting sort into kBuckets ranges between the floor
// and the largest bound. Good blocks first raise the floor early. Where nearly all blocks are to be read,
// reading them as they lie is worth more.
constexpr std::uint32_t kBuckets = 16;

void put_best_first(Scratch& scratch, std::size_t count, float floor) {
  if (count < 4 * kBuckets || 10 * count > 9 * scratch.upper.size() ||
      !(floor > -std::numeric_limits<float>::max()))
    return;
  float largest = floor;
  for (std::size_t i = 0; i < count; ++i) {
    const float upper = scratch.upper[scratch.blocks[i]];
    largest = upper > largest ? upper : largest;  // std::max takes references, through memory
  }
  const float factor = static_cast<float>(kBuckets) / (largest - floor);
  if (!(factor < std::numeric_limits<float>::max())) return;
  const auto bucket_of = [&](std::uint32_t block) {
    const auto place = static_cast<std::int32_t>((largest - scratch.upper[block]) * factor);
    return std::min(static_cast<std::uint32_t>(place), kBuckets - 1);
  };
  std::size_t begin[kBuckets + 1] = {};
  for (std::size_t i = 0; i < count; ++i) ++begin[bucket_of(scratch.blocks[i]) + 1];
  for (std::size_t bucket = 0; bucket < kBuckets; ++bucket) begin[bucket + 1] += begin[bucket];
  scratch.sorted.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    scratch.sorted[begin[bucket_of(scratch.blocks[i])]++] = scratch.blocks[i];
  }
  scratch.blocks.swap(scratch.sorted);
}

struct List {
  const std::uint32_t* blocks;
  std::size_t count;
  const float* upper;         // by block
  const std::uint32_t* line;  // by block; null when there is one line
};

// Blocks are taken in groups of one line; those that the floor has risen past are left out.
void visit_range(const List& list, std::size_t begin, std::size_t end, BlockVisitor& visitor,
                 QueryState& state) {
  constexpr std::size_t kGroup = BlockVisitor::kGroup;
  for (std::size_t first = begin; first < end; first += kGroup) {
    const float floor = state.floor();
    std::uint32_t group[kPenaltyLines][kGroup];
    std::size_t n[kPenaltyLines] = {};
    for (std::size_t i = first; i < std::min(end, first + kGroup); ++i) {
      const std::uint32_t block = list.blocks[i];
      const std::size_t line = list.line != nullptr ? list.line[block] : 0;
      group[line][n[line]] = block;
      n[line] += list.upper[block] < floor ? 0 : 1;
    }
    // Blocks lie in no order that the hardware could guess: the next group's codes are asked for early.
    const std::size_t next = std::min(first + kGroup, list.count);
    const std::uint32_t* ahead = list.blocks + next;
    std::size_t n_ahead = std::min(kGroup, list.count - next);
    for (std::size_t line = 0; line < kPenaltyLines; ++line) {
      if (n[line] == 0) continue;
      const std::size_t n_now = std::min(n_ahead, n[line]);
      visitor.visit(group[line], n[line], line, ahead, n_now, state);
      ahead += n_now;
      n_ahead -= n_now;
    }
  }
}

void raise(std::atomic<float>& shared, float value) {
  float seen = shared.load(std::memory_order_relaxed);
  while (value > seen && !shared.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
  }
}

// Each thread keeps its own best; a floor that any of them reaches holds for all.
void visit_in_parallel(const ScanContext& context, const List& list, const QueryLines& lines,
                       const AwayProbe& away, QueryState& state, std::size_t k, std::size_t threads,
                       SearchCounts& counts) {
  std::atomic<float> floor{state.floor()};
  const std::size_t n_tasks = (list.count + kTaskBlocks - 1) / kTaskBlocks;
  std::vector<std::unique_ptr<QueryState>> own(threads);
  std::vector<std::unique_ptr<BlockVisitor>> visitors(threads);
  parallel_for(n_tasks, threads, [&](std::size_t task, std::size_t slot) {
    const FpEnvironment environment;
    if (!own[slot]) {
      own[slot] = std::make_unique<QueryState>(state.number, state.steered, k);
      visitors[slot] = std::make_unique<BlockVisitor>(context, lines, away);
    }
    own[slot]->known_floor = floor.load(std::memory_order_relaxed);
    visit_range(list, task * kTaskBlocks, std::min(list.count, (task + 1) * kTaskBlocks), *visitors[slot],
                *own[slot]);
    raise(floor, own[slot]->floor());
  });
  for (std::size_t slot = 0; slot < threads; ++slot) {
    if (!own[slot]) continue;
    visitors[slot]->finish(*own[slot]);
    visitors[slot]->add_counts(counts);
    state.best.merge(own[slot]->best);
  }
}

}  // namespace

bool is_within_bounds(const BlockIndex& index, const SteeredQuery& query) {
  const auto is_short = [](const float* values, std::size_t n) {
    float square = 0.0f;
    for (std::size_t d = 0; d < n; ++d) square += values[d] * values[d];
    return square <= kLargestNorm * kLargestNorm;  // false for an overflow
  };
  for (std::size_t p = 0; p < index.parts().count; ++p) {
    if (index.largest_bound(p) > kLargestNorm) return false;
  }
  for (const AwayExpert& away : query.away) {
    if (!is_short(away.vector, index.dim())) return false;
    // Each by itself, too: a tiny gate times phi underflows before a huge strength multiplies it.
    for (const float weight : {query.strength, away.gate, query.strength * away.gate}) {
      if (!(weight <= kLargestWeight)) return false;
    }
    if (!(std::fabs(away.bias) <= kLargestNorm)) return false;
  }
  return is_short(query.vector.data(), index.dim());
}

bool needs_both_parts(const BlockIndex& index, const SteeredQuery& query) {
  if (index.parts().count == 1) return false;
  const auto has_part = [&index](const float* vector) {
    const float* part = vector + index.parts().begin[1];
    return std::any_of(part, part + index.parts().width[1], [](float value) { return value != 0.0f; });
  };
  return has_part(query.vector.data()) ||
         std::any_of(query.away.begin(), query.away.end(),
                     [&](const AwayExpert& away) { return has_part(away.vector); });
}

void scan_single(const ScanContext& context, QueryState& state, std::size_t k, std::size_t threads,
                 SearchCounts& counts) {
  const BlockIndex& index = *context.segment.index;
  const std::size_t n_lines = count_lines(state.steered);
  ProbeSet probes(index, context.kernels, n_lines);
  set_lines(state.steered, context.rule, n_lines, probes, 0, 1);
  probes.find_terms();
  const QueryLines lines{probes, 0, 1, n_lines};
  const AwayProbe away(index, context.kernels, state.steered, context.rule);
  warm_up(context, lines, away, state, k, counts);
  scan_alone(context, lines, away, state, k, threads, counts);
}

void scan_alone(const ScanContext& context, const QueryLines& lines, const AwayProbe& away, QueryState& state,
                std::size_t k, std::size_t threads, SearchCounts& counts) {
  const BlockIndex& index = *context.segment.index;
  Scratch& scratch = scratch_of_thread();
  scratch.upper.assign(index.n_blocks(), underflow_slack(index.dim()));
  lines.query().add_block_bounds(scratch.upper.data());
  scratch.blocks.resize(index.n_blocks() + kQueryLanes);
  const auto select = [&] {
    return context.kernels.select_at_least(scratch.upper.data(), index.n_blocks(), state.floor(),
                                           scratch.blocks.data());
  };
  std::size_t count = select();
  const bool use_lines = other_lines_help(lines, scratch.blocks.data(), count, state.floor());
  if (use_lines) {
    bound_by_other_lines(index, context.kernels, lines, scratch);
    count = select();
  }
  put_best_first(scratch, count, state.floor());
  const List list{scratch.blocks.data(), count, scratch.upper.data(),
                  use_lines ? scratch.line.data() : nullptr};
  counts.n_pairs += index.n_blocks();
  if (threads > 1 && count >= 4 * kTaskBlocks) {
    visit_in_parallel(context, list, lines, away, state, k, threads, counts);
    return;
  }
  BlockVisitor visitor(context, lines, away);
  visit_range(list, 0, count, visitor, state);
  visitor.finish(state);
  visitor.add_counts(counts);
}

}  // namespace dpr
