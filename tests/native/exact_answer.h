// What a search must return, found by sorting the reference scores, and how to call both.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "dispatch.h"
#include "exclusions.h"
#include "live/main_items.h"
#include "random_input.h"
#include "search/allowed_rows.h"
#include "search/query_state.h"
#include "tag_filter.h"

namespace dpr::test {

struct Answer {
  std::vector<std::int64_t> rows;         // (n_queries, k)
  std::vector<std::uint32_t> score_bits;  // (n_queries, k)

  bool operator==(const Answer& other) const { return rows == other.rows && score_bits == other.score_bits; }
};

struct Question {
  const Queries& queries;
  std::size_t k;
  std::size_t threads = 1;
  Exclusions exclusions = {};
  AllowedRows allowed = {};
  const TagFilter* tag_filter = nullptr;
};

// Sorts the reference scores of all rows that the question allows.
Answer sorted_answer(const CatalogueState& catalogue, const Question& question);

// Searches; the work done is added to `counts` if given.
Answer searched_answer(const CatalogueState& catalogue, SimdLevel level, const Question& question,
                       SearchCounts* counts = nullptr);

// Items with an index; items without one when `widths` is empty. Their rows are 0, gap, 2 gap, ...
std::unique_ptr<MainItems> main_items(Items items, const std::vector<std::size_t>& widths,
                                      std::int64_t gap = 1);

// A catalogue of nothing but `main`.
CatalogueState state_of(const MainItems& main);

}  // namespace dpr::test
