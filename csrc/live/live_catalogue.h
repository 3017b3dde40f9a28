// A catalogue that changes while it is searched. Every change publishes a new snapshot; a search works on the
// one it took at its start, so it waits for nobody and sees no half of a change.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "dispatch.h"
#include "live/fork_guard.h"
#include "live/main_items.h"
#include "search/segment.h"

namespace dpr {

// Items added since the last compaction. Grows in place: a snapshot reads only what was there when it was
// taken.
struct RecentItems {
  std::vector<float> vectors;           // (capacity, dim)
  std::vector<std::uint64_t> tag_bits;  // (capacity, n_tag_words)
  std::size_t capacity = 0;
  std::int64_t first_row = 0;
};

struct Snapshot {
  std::shared_ptr<const MainItems> main;
  std::shared_ptr<const RecentItems> recent;  // or null
  std::size_t n_recent = 0;
  std::shared_ptr<const std::vector<std::uint64_t>> hidden;  // of items in memory; null when none is
  std::size_t n_rows = 0;

  CatalogueState state() const;
  std::size_t n_places() const { return main->view().n_items + n_recent; }
};

class LiveCatalogue {
 public:
  // n_rows: rows given out so far, more than any row of `main`. If `main` has an index, so will what
  // compaction makes.
  LiveCatalogue(std::shared_ptr<const MainItems> main, std::size_t n_rows, const KernelTable& kernels);

  const KernelTable& kernels() const { return kernels_; }
  std::size_t dim() const { return dim_; }
  std::size_t n_tag_words() const { return n_tag_words_; }
  const Parts& parts() const { return parts_; }
  std::shared_ptr<const Snapshot> snapshot() const;
  // The snapshot if nothing is pending; std::invalid_argument otherwise.
  std::shared_ptr<const Snapshot> compacted_snapshot() const;

  // vectors (n, dim), finite; tag_bits (n, n_tag_words). Returns the first new row.
  std::int64_t add(const float* vectors, const std::uint64_t* tag_bits, std::size_t n);

  // Both throw std::invalid_argument, and change nothing, for a row that was never given out, or was removed;
  // remove also for one given twice.
  void remove(const std::int64_t* rows, std::size_t n);
  void set_available(const std::int64_t* rows, std::size_t n, bool available);

  // Puts all items that are not removed into new arrays, with a new index if there was one. Searches and
  // changes go on meanwhile; a second call waits for the first. No-op when nothing is pending.
  void compact(std::size_t threads);

  std::size_t n_items() const;
  std::size_t n_pending() const;
  bool is_available(std::int64_t row) const;
  // Sets the scores of removed rows to NaN; scores is (n_queries, n_rows).
  void mark_removed(float* scores, std::size_t n_queries, std::size_t n_rows) const;

 private:
  bool is_set(const std::vector<std::uint64_t>& bits, std::int64_t row) const;
  void check_rows(const std::int64_t* rows, std::size_t n) const;
  void publish_hidden(Snapshot& next) const;
  void publish(Snapshot next);
  std::size_t count_pending() const;
  std::shared_ptr<MainItems> gather(const Snapshot& from, const std::vector<std::uint64_t>& removed) const;

  const KernelTable& kernels_;
  std::size_t dim_;
  std::size_t n_tag_words_;
  Parts parts_;      // count 0: no index
  ForkGuard locks_;  // brief: all below; lasting: one compaction at a time
  std::shared_ptr<const Snapshot> current_;
  std::shared_ptr<RecentItems> growing_;    // what current_->recent points to
  std::vector<std::uint64_t> removed_;      // bit r: row r was removed
  std::vector<std::uint64_t> gone_;         // bit r: row r was removed, and its item is no longer in memory
  std::vector<std::uint64_t> unavailable_;  // bit r: row r is switched off
  std::size_t n_removed_ = 0;
};

}  // namespace dpr
