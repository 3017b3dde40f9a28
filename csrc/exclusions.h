// Rows that a query must not be given: each query's own sorted list.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace dpr {

class Exclusions {
 public:
  // Excludes nothing.
  Exclusions() = default;

  // Query b excludes rows[offsets[b] .. offsets[b + 1]), in any order, repeats allowed. Copies both arrays.
  // Throws std::invalid_argument when offsets do not run from 0 to n_rows without falling, or when a row is
  // not in [0, n_items).
  Exclusions(const std::int64_t* offsets, std::size_t n_queries, const std::int64_t* rows, std::size_t n_rows,
             std::size_t n_items);

  bool is_empty(std::size_t query) const { return rows_.empty() || offsets_[query] == offsets_[query + 1]; }
  bool contains(std::size_t query, std::int64_t row) const;

 private:
  std::vector<std::size_t> offsets_;
  std::vector<std::int64_t> rows_;  // ascending within each query
};

// Copies offsets of n_lists lists that together hold n_entries entries; `name` is for the error messages.
// Throws std::invalid_argument unless offsets start at 0, never fall and end at n_entries.
std::vector<std::size_t> checked_offsets(const char* name, const std::int64_t* offsets, std::size_t n_lists,
                                         std::size_t n_entries);

}  // namespace dpr
