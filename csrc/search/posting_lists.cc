#include "search/posting_lists.h"

#include <algorithm>

namespace dpr {
namespace {

// Visits the set bits of an item's tags.
template <class Visit>
void for_each_tag(const std::uint64_t* words, std::size_t n_words, const Visit& visit) {
  for (std::size_t w = 0; w < n_words; ++w) {
    for (std::uint64_t bits = words[w]; bits != 0; bits &= bits - 1) {
      visit(64 * w + static_cast<std::size_t>(__builtin_ctzll(bits)));
    }
  }
}

}  // namespace

// A hundredth of the items: reading 10,000 of a million vectors one by one costs about what a scan with a
// filter does; 5 % took ten times as long.
std::size_t PostingLists::most_scored() const { return view_.n_items / 100; }

// A tenth: asking an item's tags costs far less than its score does, so longer lists are worth it where other
// demands leave few of their items. Lists of 12 % still are; of 20 % they no longer always are.
std::size_t PostingLists::most_listed() const { return view_.n_items / 10; }

void PostingLists::make() const {
  const std::size_t n_tags = 64 * view_.n_tag_words;
  counts_.assign(n_tags, 0);
  const auto words = [this](std::size_t i) { return view_.tag_bits + i * view_.n_tag_words; };
  for (std::size_t i = 0; i < view_.n_items; ++i) {
    for_each_tag(words(i), view_.n_tag_words, [this](std::size_t tag) { ++counts_[tag]; });
  }
  begin_.assign(n_tags + 1, 0);
  for (std::size_t tag = 0; tag < n_tags; ++tag) {
    begin_[tag + 1] = begin_[tag] + (counts_[tag] <= most_listed() ? counts_[tag] : 0);
  }
  places_.resize(begin_.back());
  std::vector<std::size_t> next(begin_.begin(), begin_.end() - 1);
  for (std::size_t i = 0; i < view_.n_items; ++i) {
    for_each_tag(words(i), view_.n_tag_words, [&](std::size_t tag) {
      if (is_listed(tag)) places_[next[tag]++] = static_cast<std::uint32_t>(i);
    });
  }
}

std::size_t PostingLists::count_any(const std::uint64_t* tags) const {
  std::size_t count = 0;
  for_each_tag(tags, view_.n_tag_words,
               [&](std::size_t tag) { count += is_listed(tag) ? counts_[tag] : view_.n_items; });
  return std::min(count, view_.n_items);
}

// Share of the items that lack all of the tags, as if tags came independently of each other.
double PostingLists::share_without(const std::uint64_t* tags) const {
  double share = 1.0;
  for_each_tag(tags, view_.n_tag_words, [&](std::size_t tag) { share *= 1.0 - share_with(tag); });
  return share;
}

double PostingLists::share_with_all(const std::uint64_t* tags) const {
  double share = 1.0;
  for_each_tag(tags, view_.n_tag_words, [&](std::size_t tag) { share *= share_with(tag); });
  return share;
}

double PostingLists::expected_share(const TagFilter& filter, std::size_t query) const {
  double share = share_with_all(filter.all(query)) * share_without(filter.none(query));
  for (std::size_t c = 0; c < filter.n_clauses(query); ++c) {
    const std::size_t at = c * view_.n_tag_words;
    share *= 1.0 - share_without(filter.clause_with(query) + at) *
                       share_with_all(filter.clause_without(query) + at);
  }
  return share;
}

// The tags of one demand, of which any will do: none when no demand has a list.
std::vector<std::uint64_t> PostingLists::shortest(const TagFilter& filter, std::size_t query) const {
  const std::size_t n_words = view_.n_tag_words;
  std::size_t fewest = most_listed() + 1;
  std::vector<std::uint64_t> chosen;
  const auto consider = [&](const std::vector<std::uint64_t>& tags) {
    const std::size_t count = count_any(tags.data());
    if (count >= fewest) return;
    fewest = count;
    chosen = tags;
  };
  for_each_tag(filter.all(query), n_words, [&](std::size_t tag) {
    std::vector<std::uint64_t> one(n_words, 0);
    one[tag / 64] = std::uint64_t{1} << (tag % 64);
    consider(one);
  });
  for (std::size_t c = 0; c < filter.n_clauses(query); ++c) {
    const std::uint64_t* with = filter.clause_with(query) + c * n_words;
    const std::uint64_t* without = filter.clause_without(query) + c * n_words;
    const bool only_with =
        std::all_of(without, without + n_words, [](std::uint64_t word) { return word == 0; });
    if (only_with) consider({with, with + n_words});
  }
  return chosen;
}

bool PostingLists::find_passing(const TagFilter& filter, std::size_t query,
                                std::vector<std::uint32_t>& places) const {
  std::call_once(once_, [this] { make(); });
  const std::vector<std::uint64_t> tags = shortest(filter, query);
  const double expected = expected_share(filter, query) * static_cast<double>(view_.n_items);
  if (tags.empty() || expected > static_cast<double>(most_scored()) + 0.5) return false;  // 0.5: roundings
  places.clear();
  for_each_tag(tags.data(), view_.n_tag_words, [&](std::size_t tag) {
    for (std::size_t i = begin_[tag]; i < begin_[tag + 1]; ++i) {
      if (filter.passes(query, view_.tag_bits + places_[i] * view_.n_tag_words)) places.push_back(places_[i]);
    }
  });
  std::sort(places.begin(), places.end());  // with several tags, in several runs
  places.erase(std::unique(places.begin(), places.end()), places.end());
  return places.size() <= most_scored();
}

}  // namespace dpr
