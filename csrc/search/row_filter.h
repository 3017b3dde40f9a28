// Whether a query may be given an item: availability, exclusions, allowed rows, tags. Owns nothing.
#pragma once

#include <cstddef>
#include <cstdint>

#include "exclusions.h"
#include "search/allowed_rows.h"
#include "search/segment.h"
#include "tag_filter.h"

namespace dpr {

struct RowFilter {
  const std::uint64_t* hidden;  // or null
  const Exclusions& exclusions;
  const AllowedRows& allowed;
  const TagFilter* tags;  // or null

  bool is_hidden(std::int64_t row) const {
    const auto bit = static_cast<std::uint64_t>(row);
    return hidden != nullptr && ((hidden[bit / 64] >> (bit % 64)) & 1) != 0;
  }

  bool filters_tags(std::size_t query) const { return tags != nullptr && tags->restricts(query); }

  // False when the query may be given every item.
  bool restricts(std::size_t query) const {
    return hidden != nullptr || allowed.limits() || !exclusions.is_empty(query) || filters_tags(query);
  }

  // Everything but the tags.
  bool passes_row(std::size_t query, std::int64_t row) const {
    return !is_hidden(row) && !exclusions.contains(query, row) &&
           (!allowed.limits() || allowed.contains(query, row));
  }

  bool passes(std::size_t query, const Segment& segment, std::size_t place) const {
    if (!passes_row(query, segment.row(place))) return false;
    return tags == nullptr || tags->passes(query, segment.view.tag_bits + place * segment.view.n_tag_words);
  }
};

}  // namespace dpr
