// For the rarer tags of a segment, the items that have them: where few items pass a filter, no scan is
// needed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "catalogue_view.h"
#include "tag_filter.h"

namespace dpr {

class PostingLists {
 public:
  // Lists are made when first asked for: one pass over the tags.
  explicit PostingLists(const CatalogueView& view) : view_(view) {}

  // Writes the places of all items whose tags pass, ascending. False, and anything in `places`, when they are
  // not few, or cannot be found without looking at many items.
  bool find_passing(const TagFilter& filter, std::size_t query, std::vector<std::uint32_t>& places) const;

 private:
  void make() const;
  bool is_listed(std::size_t tag) const { return begin_[tag + 1] > begin_[tag] || counts_[tag] == 0; }
  // Items that have one of the tags, or n_items when one of them is not listed.
  std::size_t count_any(const std::uint64_t* tags) const;
  double share_with(std::size_t tag) const {
    return static_cast<double>(counts_[tag]) / static_cast<double>(view_.n_items);
  }
  double share_with_all(const std::uint64_t* tags) const;
  double share_without(const std::uint64_t* tags) const;
  double expected_share(const TagFilter& filter, std::size_t query) const;
  std::vector<std::uint64_t> shortest(const TagFilter& filter, std::size_t query) const;
  std::size_t most_listed() const;
  std::size_t most_scored() const;

  CatalogueView view_;
  mutable std::once_flag once_;
  mutable std::vector<std::size_t> counts_;  // (64 * n_tag_words,)
  mutable std::vector<std::size_t> begin_;   // (64 * n_tag_words + 1,)
  mutable std::vector<std::uint32_t> places_;
};

}  // namespace dpr
