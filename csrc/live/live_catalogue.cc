#include "live/live_catalogue.h"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>

#include "huge_pages.h"

namespace dpr {
namespace {

constexpr std::size_t kFirstCapacity = 64;

std::size_t n_words(std::size_t n_bits) { return (n_bits + 63) / 64; }

void set_bit(std::vector<std::uint64_t>& bits, std::int64_t row, bool value) {
  const auto at = static_cast<std::uint64_t>(row);
  const std::uint64_t bit = std::uint64_t{1} << (at % 64);
  bits[at / 64] = value ? bits[at / 64] | bit : bits[at / 64] & ~bit;
}

}  // namespace

CatalogueState Snapshot::state() const {
  CatalogueState state{main->segment(), {}, hidden ? hidden->data() : nullptr, n_rows};
  const CatalogueView& view = state.main.view;
  state.recent.view = {nullptr, nullptr, 0, view.dim, view.n_tag_words};
  if (recent) {
    state.recent.view = {recent->vectors.data(), recent->tag_bits.data(), n_recent, view.dim,
                         view.n_tag_words};
    state.recent.first_row = recent->first_row;
  }
  return state;
}

LiveCatalogue::LiveCatalogue(std::shared_ptr<const MainItems> main, std::size_t n_rows,
                             const KernelTable& kernels)
    : kernels_(kernels), dim_(main->view().dim), n_tag_words_(main->view().n_tag_words), parts_{} {
  if (main->index() != nullptr) parts_ = main->index()->parts();
  removed_.assign(n_words(n_rows), ~std::uint64_t{0});
  if (n_rows % 64 != 0) removed_.back() = (std::uint64_t{1} << (n_rows % 64)) - 1;  // no rows past the last
  unavailable_.assign(n_words(n_rows), 0);
  const Segment segment = main->segment();
  for (std::size_t i = 0; i < segment.view.n_items; ++i) set_bit(removed_, segment.row(i), false);
  gone_ = removed_;
  n_removed_ = n_rows - segment.view.n_items;
  auto first = std::make_shared<Snapshot>();
  first->main = std::move(main);
  first->n_rows = n_rows;
  current_ = std::move(first);
}

std::shared_ptr<const Snapshot> LiveCatalogue::snapshot() const {
  const std::lock_guard<std::mutex> lock(locks_.brief());
  return current_;
}

std::shared_ptr<const Snapshot> LiveCatalogue::compacted_snapshot() const {
  const std::lock_guard<std::mutex> lock(locks_.brief());
  if (count_pending() == 0) return current_;
  throw std::invalid_argument("expected a compacted catalogue, got one with " +
                              std::to_string(count_pending()) + " items pending");
}

void LiveCatalogue::publish(Snapshot next) { current_ = std::make_shared<const Snapshot>(std::move(next)); }

// Rows of items that are in memory and must not be found. Rows that are gone have no bit: a search over a
// catalogue without any takes its first floor without asking item by item.
void LiveCatalogue::publish_hidden(Snapshot& next) const {
  auto hidden = std::make_shared<std::vector<std::uint64_t>>(n_words(next.n_rows));
  bool any = false;
  for (std::size_t w = 0; w < hidden->size(); ++w) {
    (*hidden)[w] = (removed_[w] | unavailable_[w]) & ~gone_[w];
    any = any || (*hidden)[w] != 0;
  }
  next.hidden = any ? std::move(hidden) : nullptr;
}

std::int64_t LiveCatalogue::add(const float* vectors, const std::uint64_t* tag_bits, std::size_t n) {
  const std::lock_guard<std::mutex> lock(locks_.brief());
  Snapshot next = *current_;
  const auto first_row = static_cast<std::int64_t>(next.n_rows);
  if (n == 0) return first_row;
  if (next.n_places() + n >= kEmptySlot) {
    throw std::invalid_argument("vectors: expected at most 2^32 - 2 items in all, got more");
  }
  if (!growing_ || next.n_recent + n > growing_->capacity) {
    auto larger = std::make_shared<RecentItems>();
    larger->capacity = std::max({kFirstCapacity, 2 * next.n_recent, next.n_recent + n});
    larger->first_row = growing_ ? growing_->first_row : first_row;
    larger->vectors.resize(larger->capacity * dim_);
    larger->tag_bits.resize(larger->capacity * n_tag_words_);
    if (growing_) {
      std::copy_n(growing_->vectors.begin(), next.n_recent * dim_, larger->vectors.begin());
      std::copy_n(growing_->tag_bits.begin(), next.n_recent * n_tag_words_, larger->tag_bits.begin());
    }
    growing_ = std::move(larger);
  }
  std::copy_n(vectors, n * dim_, growing_->vectors.data() + next.n_recent * dim_);
  std::copy_n(tag_bits, n * n_tag_words_, growing_->tag_bits.data() + next.n_recent * n_tag_words_);
  next.recent = growing_;
  next.n_recent += n;
  next.n_rows += n;
  removed_.resize(n_words(next.n_rows), 0);
  gone_.resize(n_words(next.n_rows), 0);
  unavailable_.resize(n_words(next.n_rows), 0);
  if (next.hidden && next.hidden->size() != n_words(next.n_rows)) publish_hidden(next);
  publish(std::move(next));
  return first_row;
}

bool LiveCatalogue::is_set(const std::vector<std::uint64_t>& bits, std::int64_t row) const {
  const auto at = static_cast<std::uint64_t>(row);
  return ((bits[at / 64] >> (at % 64)) & 1) != 0;
}

void LiveCatalogue::check_rows(const std::int64_t* rows, std::size_t n) const {
  for (std::size_t i = 0; i < n; ++i) {
    if (rows[i] < 0 || rows[i] >= static_cast<std::int64_t>(current_->n_rows)) {
      throw std::invalid_argument("rows: expected rows in [0, " + std::to_string(current_->n_rows) +
                                  "), got " + std::to_string(rows[i]));
    }
    if (is_set(removed_, rows[i])) {
      throw std::invalid_argument("rows: expected rows of items, got " + std::to_string(rows[i]) +
                                  ", which was removed");
    }
  }
}

void LiveCatalogue::remove(const std::int64_t* rows, std::size_t n) {
  const std::lock_guard<std::mutex> lock(locks_.brief());
  check_rows(rows, n);
  std::vector<std::int64_t> sorted(rows, rows + n);
  std::sort(sorted.begin(), sorted.end());
  const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
  if (twice != sorted.end()) {
    throw std::invalid_argument("rows: expected each row once, got " + std::to_string(*twice) + " twice");
  }
  for (const std::int64_t row : sorted) set_bit(removed_, row, true);
  n_removed_ += n;
  Snapshot next = *current_;
  publish_hidden(next);
  publish(std::move(next));
}

void LiveCatalogue::set_available(const std::int64_t* rows, std::size_t n, bool available) {
  const std::lock_guard<std::mutex> lock(locks_.brief());
  check_rows(rows, n);
  for (std::size_t i = 0; i < n; ++i) set_bit(unavailable_, rows[i], !available);
  Snapshot next = *current_;
  publish_hidden(next);
  publish(std::move(next));
}

std::size_t LiveCatalogue::n_items() const {
  const std::lock_guard<std::mutex> lock(locks_.brief());
  return current_->n_rows - n_removed_;
}

std::size_t LiveCatalogue::count_pending() const {
  const std::size_t n_removed_here = current_->n_places() - (current_->n_rows - n_removed_);
  return current_->n_recent + n_removed_here;
}

std::size_t LiveCatalogue::n_pending() const {
  const std::lock_guard<std::mutex> lock(locks_.brief());
  return count_pending();
}

bool LiveCatalogue::is_available(std::int64_t row) const {
  const std::lock_guard<std::mutex> lock(locks_.brief());
  return !is_set(unavailable_, row);
}

void LiveCatalogue::mark_removed(float* scores, std::size_t n_queries, std::size_t n_rows) const {
  const std::lock_guard<std::mutex> lock(locks_.brief());
  for (std::size_t row = 0; row < n_rows; ++row) {
    if (!is_set(removed_, static_cast<std::int64_t>(row))) continue;
    for (std::size_t b = 0; b < n_queries; ++b) {
      scores[b * n_rows + row] = std::numeric_limits<float>::quiet_NaN();
    }
  }
}

std::shared_ptr<MainItems> LiveCatalogue::gather(const Snapshot& from,
                                                 const std::vector<std::uint64_t>& removed) const {
  std::vector<float> vectors;
  std::vector<std::uint64_t> tag_bits;
  std::vector<std::int64_t> row_ids;
  reserve_huge(vectors, from.n_places() * dim_);
  const CatalogueState state = from.state();
  for (const Segment* segment : {&state.main, &state.recent}) {
    for (std::size_t i = 0; i < segment->view.n_items; ++i) {
      if (is_set(removed, segment->row(i))) continue;
      row_ids.push_back(segment->row(i));
      const float* vector = segment->view.vectors + i * dim_;
      vectors.insert(vectors.end(), vector, vector + dim_);
      const std::uint64_t* words = segment->view.tag_bits + i * n_tag_words_;
      if (n_tag_words_ > 0) tag_bits.insert(tag_bits.end(), words, words + n_tag_words_);
    }
  }
  return std::make_shared<MainItems>(std::move(vectors), std::move(tag_bits), std::move(row_ids), dim_,
                                     n_tag_words_);
}

void LiveCatalogue::compact(std::size_t threads) {
  const std::lock_guard<std::mutex> one_at_a_time(locks_.lasting());
  std::shared_ptr<const Snapshot> from;
  std::vector<std::uint64_t> removed;
  {
    const std::lock_guard<std::mutex> lock(locks_.brief());
    if (count_pending() == 0) return;
    from = current_;
    removed = removed_;
  }
  const std::shared_ptr<MainItems> main = gather(*from, removed);
  if (parts_.count > 0 && main->view().n_items > 0) {
    main->set_index(build_index(main->view(), parts_, kernels_, threads), parts_);
  }
  const std::lock_guard<std::mutex> lock(locks_.brief());
  Snapshot next = *current_;
  next.main = main;
  const std::size_t n_since = next.n_recent - from->n_recent;
  std::shared_ptr<RecentItems> rest;
  if (n_since > 0) {
    rest = std::make_shared<RecentItems>();
    rest->capacity = n_since;
    rest->first_row = static_cast<std::int64_t>(from->n_rows);
    const auto skipped = static_cast<std::ptrdiff_t>(from->n_recent);
    const auto end = static_cast<std::ptrdiff_t>(next.n_recent);
    const auto dim = static_cast<std::ptrdiff_t>(dim_);
    const auto words = static_cast<std::ptrdiff_t>(n_tag_words_);
    rest->vectors.assign(growing_->vectors.begin() + skipped * dim, growing_->vectors.begin() + end * dim);
    rest->tag_bits.assign(growing_->tag_bits.begin() + skipped * words,
                          growing_->tag_bits.begin() + end * words);
  }
  growing_ = rest;
  next.recent = rest;
  next.n_recent = n_since;
  for (std::size_t w = 0; w < removed.size(); ++w) gone_[w] |= removed[w];
  publish_hidden(next);
  publish(std::move(next));
}

}  // namespace dpr
