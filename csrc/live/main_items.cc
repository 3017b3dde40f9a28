#include "live/main_items.h"

namespace dpr {

MainItems::MainItems(const CatalogueView& view, const std::int64_t* row_ids,
                     std::shared_ptr<const void> keep_alive)
    : keep_alive_(std::move(keep_alive)), view_(view), row_ids_(row_ids) {
  list_tags();
}

MainItems::MainItems(std::vector<float> vectors, std::vector<std::uint64_t> tag_bits,
                     std::vector<std::int64_t> row_ids, std::size_t dim, std::size_t n_tag_words)
    : own_vectors_(std::move(vectors)),
      own_tag_bits_(std::move(tag_bits)),
      own_row_ids_(std::move(row_ids)),
      view_{own_vectors_.data(), own_tag_bits_.data(), own_row_ids_.size(), dim, n_tag_words},
      row_ids_(own_row_ids_.data()) {
  list_tags();
}

void MainItems::list_tags() {
  if (view_.n_tag_words > 0) postings_.emplace(view_);
}

void MainItems::set_index(OwnedIndex index, const Parts& parts) {
  own_index_ = std::move(index);
  set_index(own_index_.arrays(view_.dim), parts);
}

}  // namespace dpr
