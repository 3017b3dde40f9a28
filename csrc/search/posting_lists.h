// For the rarer tags of a segment, the items that have them: few items need no scan.
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

  // Finds a demand of the query that few items meet, and writes the places of all items that meet it,
  // ascending; other demands may still fail. False when there is no such demand.
  bool find_candidates(const TagFilter& filter, std::size_t query, std::vector<std::uint32_t>& places) const;

 private:
  void make() const;
  bool is_listed(std::size_t tag) const { return begin_[tag + 1] > begin_[tag] || counts_[tag] == 0; }
  // Items that have one of the tags, or n_items when one of them is not listed.
  std::size_t count_any(const std::uint64_t* tags) const;
  void append_any(const std::uint64_t* tags, std::vector<std::uint32_t>& places) const;
  std::size_t most_listed() const;

  CatalogueView view_;
  mutable std::once_flag once_;
  mutable std::vector<std::size_t> counts_;  // (64 * n_tag_words,)
  mutable std::vector<std::size_t> begin_;   // (64 * n_tag_words + 1,)
  mutable std::vector<std::uint32_t> places_;
};

}  // namespace dpr
