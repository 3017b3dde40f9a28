// The catalogue as one search sees it: items with an index, items that arrived since, and what is hidden.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "catalogue_view.h"
#include "index/block_index.h"

namespace dpr {

class PostingLists;

// Items that lie together in memory. A *place* is an item's number within its segment, a *row* its number in
// the catalogue for ever; places and rows rise together.
struct Segment {
  CatalogueView view;
  const BlockIndex* index;       // or null: scanned in float32
  const PostingLists* postings;  // or null
  const std::int64_t* row_ids;   // (n_items,), or null: place i is row first_row + i
  std::int64_t first_row;

  std::int64_t row(std::size_t place) const {
    return row_ids != nullptr ? row_ids[place] : first_row + static_cast<std::int64_t>(place);
  }

  // The place of a row, or n_items when it is not here.
  std::size_t place(std::int64_t wanted) const {
    const std::size_t n = view.n_items;
    if (row_ids == nullptr) {
      const bool inside = wanted >= first_row && wanted - first_row < static_cast<std::int64_t>(n);
      return inside ? static_cast<std::size_t>(wanted - first_row) : n;
    }
    const std::int64_t* found = std::lower_bound(row_ids, row_ids + n, wanted);
    return found != row_ids + n && *found == wanted ? static_cast<std::size_t>(found - row_ids) : n;
  }
};

struct CatalogueState {
  Segment main;
  Segment recent;               // n_items may be 0
  const std::uint64_t* hidden;  // bit r: row r, here, is removed or switched off; or null
  std::size_t n_rows;           // rows given out so far

  std::size_t n_places() const { return main.view.n_items + recent.view.n_items; }
};

}  // namespace dpr
