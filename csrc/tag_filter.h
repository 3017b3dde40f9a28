// Boolean conditions on the tags of an item: each query's own, in conjunctive form.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace dpr {

// The arrays a filter is made from, C order. W words a tag set.
struct TagFilterArrays {
  const std::uint64_t* all;             // (n_queries, W)
  const std::uint64_t* none;            // (n_queries, W)
  const std::int64_t* clause_offsets;   // (n_queries + 1,)
  const std::uint64_t* clause_with;     // (n_clauses, W)
  const std::uint64_t* clause_without;  // (n_clauses, W)
  std::size_t n_queries;
  std::size_t n_clauses;
  std::size_t n_words;
};

// An item with tags t passes query b when it has every tag of all[b], none of none[b], and in each of the
// query's clauses at least one tag of clause_with or lacks at least one tag of clause_without.
class TagFilter {
 public:
  // Copies everything. Throws std::invalid_argument for offsets that do not fit n_clauses.
  explicit TagFilter(const TagFilterArrays& arrays);

  std::size_t n_queries() const { return clause_offsets_.size() - 1; }
  std::size_t n_words() const { return n_words_; }

  // False when every item passes this query.
  bool restricts(std::size_t query) const;

  // Tags that the query demands and refuses, (n_words,), and its clauses, (n_clauses, n_words).
  const std::uint64_t* all(std::size_t query) const { return all_.data() + query * n_words_; }
  const std::uint64_t* none(std::size_t query) const { return none_.data() + query * n_words_; }
  std::size_t n_clauses(std::size_t query) const {
    return clause_offsets_[query + 1] - clause_offsets_[query];
  }
  const std::uint64_t* clause_with(std::size_t query) const {
    return clause_with_.data() + clause_offsets_[query] * n_words_;
  }
  const std::uint64_t* clause_without(std::size_t query) const {
    return clause_without_.data() + clause_offsets_[query] * n_words_;
  }

  // Whether an item with these n_words passes.
  bool passes(std::size_t query, const std::uint64_t* tags) const;

  // Writes to `passing`, ascending, the places i < n_rows whose tags, the n_words at tag_bits + i * n_words,
  // pass. Returns how many. `passing` has room for n_rows.
  std::size_t select(std::size_t query, const std::uint64_t* tag_bits, std::size_t n_rows,
                     std::uint32_t* passing) const;

 private:
  template <std::size_t kWords, class Use>
  auto with_conditions(std::size_t query, const Use& use) const;

  std::size_t n_words_;
  std::vector<std::uint64_t> all_;
  std::vector<std::uint64_t> none_;
  std::vector<std::size_t> clause_offsets_;
  std::vector<std::uint64_t> clause_with_;
  std::vector<std::uint64_t> clause_without_;
};

}  // namespace dpr
