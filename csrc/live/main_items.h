// The bulk of a catalogue: items that have lain still since it was opened or last compacted. Immutable.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "catalogue_view.h"
#include "index/block_index.h"
#include "index/build_index.h"
#include "search/posting_lists.h"
#include "search/segment.h"

namespace dpr {

class MainItems {
 public:
  // Arrays that somebody else owns and `keep_alive` keeps. row_ids is (n_items,), strictly rising, or null.
  MainItems(const CatalogueView& view, const std::int64_t* row_ids, std::shared_ptr<const void> keep_alive);
  // Arrays of its own.
  MainItems(std::vector<float> vectors, std::vector<std::uint64_t> tag_bits,
            std::vector<std::int64_t> row_ids, std::size_t dim, std::size_t n_tag_words);
  MainItems(const MainItems&) = delete;
  MainItems& operator=(const MainItems&) = delete;

  // An index over arrays that keep_alive keeps; throws std::invalid_argument as BlockIndex does.
  void set_index(const IndexArrays& arrays, const Parts& parts) {
    index_.emplace(arrays, parts, view_.n_items);
  }
  void set_index(OwnedIndex index, const Parts& parts);

  const CatalogueView& view() const { return view_; }
  const BlockIndex* index() const { return index_ ? &*index_ : nullptr; }
  Segment segment() const { return {view_, index(), postings_ ? &*postings_ : nullptr, row_ids_, 0}; }

 private:
  void list_tags();

  std::shared_ptr<const void> keep_alive_;
  std::vector<float> own_vectors_;
  std::vector<std::uint64_t> own_tag_bits_;
  std::vector<std::int64_t> own_row_ids_;
  OwnedIndex own_index_;
  CatalogueView view_;
  const std::int64_t* row_ids_;
  std::optional<BlockIndex> index_;
  std::optional<PostingLists> postings_;
};

}  // namespace dpr
