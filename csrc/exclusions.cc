// Checking and sorting the excluded rows.
#include "exclusions.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace dpr {

std::vector<std::size_t> checked_offsets(const char* name, const std::int64_t* offsets, std::size_t n_lists,
                                         std::size_t n_entries) {
  std::vector<std::size_t> checked(n_lists + 1, 0);
  if (offsets[0] != 0) {
    throw std::invalid_argument(std::string(name) + "[0]: expected 0, got " + std::to_string(offsets[0]));
  }
  for (std::size_t b = 0; b < n_lists; ++b) {
    if (offsets[b + 1] < offsets[b]) {
      throw std::invalid_argument("query " + std::to_string(b) + ": " + name +
                                  ": expected offsets that never fall, got " + std::to_string(offsets[b]) +
                                  " then " + std::to_string(offsets[b + 1]));
    }
    checked[b + 1] = static_cast<std::size_t>(offsets[b + 1]);
  }
  if (checked[n_lists] != n_entries) {
    throw std::invalid_argument(std::string(name) +
                                ": expected the last offset to be the number of entries, " +
                                std::to_string(n_entries) + ", got " + std::to_string(checked[n_lists]));
  }
  return checked;
}

Exclusions::Exclusions(const std::int64_t* offsets, std::size_t n_queries, const std::int64_t* rows,
                       std::size_t n_rows, std::size_t n_items)
    : offsets_(checked_offsets("excluded_offsets", offsets, n_queries, n_rows)), rows_(rows, rows + n_rows) {
  for (std::size_t b = 0; b < n_queries; ++b) {
    const auto begin = rows_.begin() + static_cast<std::ptrdiff_t>(offsets_[b]);
    const auto end = rows_.begin() + static_cast<std::ptrdiff_t>(offsets_[b + 1]);
    std::sort(begin, end);
    if (begin == end) continue;
    const bool low_is_bad = *begin < 0;
    if (low_is_bad || *(end - 1) >= static_cast<std::int64_t>(n_items)) {
      throw std::invalid_argument("query " + std::to_string(b) + ": excluded_rows: expected rows in [0, " +
                                  std::to_string(n_items) + "), got " +
                                  std::to_string(low_is_bad ? *begin : *(end - 1)));
    }
  }
}

bool Exclusions::contains(std::size_t query, std::int64_t row) const {
  if (rows_.empty()) return false;
  return std::binary_search(rows_.begin() + static_cast<std::ptrdiff_t>(offsets_[query]),
                            rows_.begin() + static_cast<std::ptrdiff_t>(offsets_[query + 1]), row);
}

}  // namespace dpr
