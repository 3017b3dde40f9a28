// Search over an index, on every level, against the sorted reference scores: rows and bits.
#include <doctest.h>

#include <algorithm>
#include <iterator>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "arranged_index.h"
#include "exact_answer.h"

namespace dpr::test {
namespace {

void check_all_levels(const CatalogueState& catalogue, const Question& question) {
  const Answer expected = sorted_answer(catalogue, question);
  for (const SimdLevel level : supported_simd_levels()) {
    CAPTURE(std::string(simd_level_name(level)));
    REQUIRE(searched_answer(catalogue, level, question) == expected);
  }
}

struct Shape {
  std::size_t dim;
  std::vector<std::size_t> widths;
};

const std::vector<Shape>& shapes() {
  static const std::vector<Shape> all = {{1, {1}},       {3, {3}},   {3, {2, 1}},    {16, {16}},
                                         {65, {40, 25}}, {63, {63}}, {64, {48, 16}}, {1000, {1000}}};
  return all;
}

// The part that a plain query leaves alone is 0 in some queries of a batch and not in others.
void clear_second_part(Random& random, const Shape& shape, Queries& queries) {
  if (shape.widths.size() < 2) return;
  for (std::size_t b = 0; b < queries.n; ++b) {
    if (random.chance(0.5)) continue;
    const auto end = queries.user.begin() + static_cast<std::ptrdiff_t>((b + 1) * shape.dim);
    std::fill(end - static_cast<std::ptrdiff_t>(shape.widths[1]), end, 0.0f);
  }
}

TEST_CASE("sizes, parts, batches, penalties, threads") {
  Random random(1);
  for (std::size_t round = 0; round < 40; ++round) {
    const Shape& shape = shapes()[round % shapes().size()];
    const std::size_t n =
        (shape.dim == 1000 ? 70 : std::vector<std::size_t>{1, 5, 63, 64, 65, 200, 1500}[random.below(7)]);
    Items items =
        random.chance(0.3) ? tied_items(random, n, shape.dim) : clustered_items(random, n, shape.dim);
    const auto main = main_items(std::move(items), shape.widths, random.chance(0.5) ? 1 : 3);
    const CatalogueState catalogue = state_of(*main);
    const std::size_t n_queries = std::vector<std::size_t>{1, 2, 7, 8, 33}[random.below(5)];
    Queries queries =
        steered_queries(random, n_queries, shape.dim, random.below(3), round % 2 == 0 ? "relu" : "softplus");
    clear_second_part(random, shape, queries);
    for (const std::size_t k : {std::size_t{1}, std::size_t{10}, n + 3}) {
      CAPTURE(round);
      CAPTURE(k);
      check_all_levels(catalogue, {queries, k, 1 + random.below(3)});
    }
  }
}

// Large enough for a floor found in advance, several clusters, and blocks shared among threads.
TEST_CASE("many blocks") {
  Random random(2);
  for (const bool clustered : {true, false}) {
    const Shape shape{12, {8, 4}};
    const std::size_t n = 9000;
    Items items = clustered_items(random, n, shape.dim);
    if (!clustered) items.vectors = random.normals(n * shape.dim);
    const auto main = main_items(std::move(items), shape.widths);
    const CatalogueState catalogue = state_of(*main);
    REQUIRE(main->index()->n_clusters() > 4);
    for (const std::size_t n_queries : {1u, 9u}) {
      for (const std::size_t n_away : {0u, 2u}) {
        Queries queries = steered_queries(random, n_queries, shape.dim, n_away, "relu");
        clear_second_part(random, shape, queries);
        for (const std::size_t k : {1u, 30u}) {
          CAPTURE(clustered);
          CAPTURE(k);
          check_all_levels(catalogue, {queries, k, 1 + random.below(3)});
        }
      }
    }
  }
}

// Blocks of all sizes, many of them nearly empty; clusters without blocks; centres shorter than 1 and of 0.
TEST_CASE("indexes of any arrangement") {
  Random random(8);
  for (std::size_t round = 0; round < 60; ++round) {
    const Shape& shape = shapes()[1 + round % (shapes().size() - 2)];
    const std::size_t n = 1 + random.below(round % 2 == 0 ? 2500 : 300);
    const Items items =
        random.chance(0.2) ? tied_items(random, n, shape.dim) : clustered_items(random, n, shape.dim);
    const Parts parts = Parts::from_widths(shape.widths, shape.dim);
    const Arrangement arrangement{1 + random.below(kBlockItems), 1 + random.below(150)};
    const OwnedIndex owned = arranged_index(random, items, parts, arrangement);
    const BlockIndex index(owned.arrays(shape.dim), parts, n);
    index.check_bounds(items.view());
    CatalogueState catalogue{{items.view(), &index, nullptr, nullptr, 0}, {}, nullptr, n};
    catalogue.recent.view = {nullptr, nullptr, 0, shape.dim, 0};
    Queries queries = steered_queries(random, round % 3 == 0 ? 12 : 1 + random.below(7), shape.dim,
                                      random.below(3), round % 2 == 0 ? "relu" : "softplus");
    clear_second_part(random, shape, queries);
    CAPTURE(round);
    check_all_levels(catalogue, {queries, 1 + random.below(40), 1 + random.below(3)});
  }
}

TEST_CASE("most of a clustered catalogue is never read") {
  Random random(3);
  const auto main = main_items(clustered_items(random, 20000, 16), {16});
  const CatalogueState catalogue = state_of(*main);
  for (const SimdLevel level : supported_simd_levels()) {
    for (const std::size_t n_queries : {1u, 20u}) {
      CAPTURE(std::string(simd_level_name(level)));
      SearchCounts counts;
      const Queries queries = plain_queries(random.normals(n_queries * 16), 16);
      searched_answer(catalogue, level, {queries, 5}, &counts);
      CHECK(counts.n_pairs == n_queries * main->index()->n_blocks());
      CHECK(counts.n_pairs_scanned > 0);
      CHECK(counts.n_pairs_scanned < counts.n_pairs / 2);
      CHECK(counts.n_rescored < n_queries * 2000);
    }
  }
}

// Tags 0 to 9: tag g on one item in 2^g, so that some are rare enough for a list of their items.
Items tagged_items(Random& random, std::size_t n, std::size_t dim) {
  Items items = clustered_items(random, n, dim);
  items.n_tag_words = 2;
  items.tag_bits.assign(2 * n, 0);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t tag = 0; tag < 10; ++tag) {
      if (random.below(std::size_t{1} << tag) == 0)
        items.tag_bits[2 * i + tag % 2] |= std::uint64_t{1} << (tag * 6);
    }
  }
  return items;
}

std::uint64_t random_tags(Random& random, std::size_t count) {
  std::uint64_t tags = 0;
  for (std::size_t i = 0; i < count; ++i) tags |= std::uint64_t{1} << (6 * random.below(10));
  return tags;
}

TagFilter random_filter(Random& random, std::size_t n_queries) {
  std::vector<std::uint64_t> all(2 * n_queries), none(2 * n_queries), with, without;
  std::vector<std::int64_t> offsets{0};
  for (std::size_t b = 0; b < n_queries; ++b) {
    if (random.chance(0.4)) all[2 * b + random.below(2)] = random_tags(random, 1);
    if (random.chance(0.4)) none[2 * b + random.below(2)] = random_tags(random, 2);
    for (std::size_t c = random.below(3); c > 0; --c) {
      with.insert(with.end(), {random_tags(random, random.below(3)), random_tags(random, random.below(3))});
      without.insert(without.end(), {random.chance(0.3) ? random_tags(random, 1) : 0, 0});
    }
    offsets.push_back(static_cast<std::int64_t>(with.size() / 2));
  }
  return TagFilter(
      {all.data(), none.data(), offsets.data(), with.data(), without.data(), n_queries, with.size() / 2, 2});
}

// Lists of rows, one a query, each with up to `most` entries.
template <class Lists>
Lists random_lists(Random& random, std::size_t n_queries, std::size_t n_rows, std::size_t most) {
  std::vector<std::int64_t> offsets{0};
  std::vector<std::int64_t> rows;
  for (std::size_t b = 0; b < n_queries; ++b) {
    for (std::size_t i = random.below(most + 1); i > 0; --i)
      rows.push_back(static_cast<std::int64_t>(random.below(n_rows)));
    offsets.push_back(static_cast<std::int64_t>(rows.size()));
  }
  return Lists(offsets.data(), n_queries, rows.data(), rows.size(), n_rows);
}

TEST_CASE("tag filters, excluded and allowed rows, hidden items") {
  Random random(4);
  for (const std::int64_t gap : {1, 2}) {
    const auto main = main_items(tagged_items(random, 3000, 12), {8, 4}, gap);
    CatalogueState catalogue = state_of(*main);
    std::vector<std::uint64_t> hidden(catalogue.n_rows / 64 + 1);
    for (std::uint64_t& word : hidden) word = random_tags(random, 8);
    for (std::size_t round = 0; round < 16; ++round) {
      catalogue.hidden = round % 3 == 0 ? hidden.data() : nullptr;
      const std::size_t n_queries = round % 4 == 0 ? 9 : 1 + random.below(3);
      const Queries queries = steered_queries(random, n_queries, 12, random.below(2), "softplus");
      const TagFilter filter = random_filter(random, n_queries);
      Question question{queries, round % 5 == 0 ? std::size_t{3000} : std::size_t{12}, 1 + round % 3};
      if (round % 2 == 0) question.tag_filter = &filter;
      if (round % 3 == 1) {
        question.exclusions = random_lists<Exclusions>(random, n_queries, catalogue.n_rows, 500);
      }
      if (round % 4 >= 2) {
        const std::size_t most = round % 4 == 2 ? 40 : 4000;
        question.allowed = random_lists<AllowedRows>(random, n_queries, catalogue.n_rows, most);
      }
      CAPTURE(round);
      check_all_levels(catalogue, question);
    }
  }
}

// What one query demands of tags 0 to 63.
struct Demands {
  std::uint64_t all = 0;
  std::uint64_t none = 0;
  std::vector<std::uint64_t> any_of = {};

  TagFilter filter() const {
    const std::int64_t offsets[] = {0, static_cast<std::int64_t>(any_of.size())};
    const std::vector<std::uint64_t> without(any_of.size());
    return TagFilter({&all, &none, offsets, any_of.data(), without.data(), 1, any_of.size(), 1});
  }
};

constexpr std::uint64_t tag(std::size_t number) { return std::uint64_t{1} << number; }

// Tags by the share of the items that have them, each independent of the others but for the last two, which
// go together.
constexpr double kTagShares[] = {0.005, 0.03, 0.03, 0.02, 0.8, 0.04};

Items items_with_shares(Random& random, std::size_t n) {
  Items items = clustered_items(random, n, 12);
  items.n_tag_words = 1;
  for (std::size_t i = 0; i < n; ++i) {
    std::uint64_t tags = 0;
    for (std::size_t t = 0; t < std::size(kTagShares); ++t) tags |= random.chance(kTagShares[t]) ? tag(t) : 0;
    items.tag_bits.push_back(tags | ((tags & tag(5)) << 1));
  }
  return items;
}

// Lists read no code of a block, and score just what passes.
TEST_CASE("posting lists answer where few items pass, however the demands are put") {
  Random random(10);
  const auto main = main_items(items_with_shares(random, 10000), {12});
  const CatalogueState catalogue = state_of(*main);
  const Queries queries = plain_queries(random.normals(12), 12);
  const auto is_listed = [&](const Demands& demands) {
    const TagFilter filter = demands.filter();
    Question question{queries, 10};
    question.tag_filter = &filter;
    SearchCounts counts;
    REQUIRE(searched_answer(catalogue, supported_simd_levels().back(), question, &counts) ==
            sorted_answer(catalogue, question));
    std::size_t n_passing = 0;
    for (std::size_t i = 0; i < 10000; ++i) n_passing += filter.passes(0, main->view().tag_bits + i) ? 1 : 0;
    if (counts.n_pairs == 0) REQUIRE(counts.n_rescored == n_passing);
    return counts.n_pairs == 0;
  };
  CHECK(is_listed({tag(0)}));
  CHECK(is_listed({tag(1) | tag(2)}));
  CHECK(is_listed({tag(1), tag(4)}));
  CHECK(is_listed({0, 0, {tag(1), tag(2) | tag(3)}}));
  CHECK(is_listed({tag(2), 0, {tag(0) | tag(3)}}));
  CHECK(is_listed({0, 0, {tag(0), tag(4)}}));
  CHECK_FALSE(is_listed({tag(1)}));
  CHECK_FALSE(is_listed({tag(1) | tag(4)}));
  CHECK_FALSE(is_listed({tag(4)}));
  CHECK_FALSE(is_listed({0, tag(1)}));
  CHECK_FALSE(is_listed({tag(5) | tag(6)}));  // few were expected, and many are there
}

// Pieces are counted, not the threads that came for them: that is up to the machine.
TEST_CASE("small batches are cut into a piece for each thread, however they are scanned") {
  Random random(9);
  constexpr std::size_t kThreads = 4;
  const auto main = main_items(tagged_items(random, 3000, 12), {12});
  const auto plain = main_items(clustered_items(random, 500, 12), {});
  for (const std::size_t n_queries : {2u, 3u, 4u, 5u, 8u, 12u, 16u, 32u, 63u}) {
    const Queries queries = plain_queries(random.normals(n_queries * 12), 12);
    const auto count_pieces = [&](const CatalogueState& catalogue, Question question) {
      SearchCounts counts;
      question.threads = kThreads;
      REQUIRE(searched_answer(catalogue, supported_simd_levels().back(), question, &counts) ==
              sorted_answer(catalogue, question));
      return counts.n_pieces;
    };
    CAPTURE(n_queries);
    const std::size_t wanted = std::min(n_queries, kThreads);
    CHECK(count_pieces(state_of(*main), {queries, 10}) == wanted);
    CHECK(count_pieces(state_of(*plain), {queries, 10}) == wanted);
    Question few{queries, 10};
    few.allowed = random_lists<AllowedRows>(random, n_queries, 3000, 40);
    CHECK(count_pieces(state_of(*main), few) == wanted);
    CatalogueState with_recent = state_of(*main);
    with_recent.recent = plain->segment();
    with_recent.recent.view.tag_bits = main->view().tag_bits;
    with_recent.recent.view.n_tag_words = 2;
    with_recent.recent.row_ids = nullptr;
    with_recent.recent.first_row = 3000;
    with_recent.n_rows = 3500;
    CHECK(count_pieces(with_recent, {queries, 10}) == 2 * wanted);  // recent items, then the others
  }
}

// As a file that somebody made up may have them. The answers are wrong, and whose memory is read is not.
TEST_CASE("bounds that are finite but absurd do no harm") {
  Random random(7);
  const Items items = clustered_items(random, 1500, 5);
  const Parts parts = Parts::from_widths({3, 2}, 5);
  const OwnedIndex sound = arranged_index(random, items, parts, {20, 80});
  const std::size_t n_blocks = sound.cluster.size();
  constexpr float kAbsurd[] = {1e15f, 3.4e38f, -3.4e38f};
  for (std::size_t round = 0; round < 300; ++round) {
    OwnedIndex owned = sound;
    for (std::size_t kind = 0; kind < 2 * kBoundKinds; ++kind) {
      const bool is_signed = kind % kBoundKinds == static_cast<std::size_t>(Bound::kAlongMin) ||
                             kind % kBoundKinds == static_cast<std::size_t>(Bound::kAlongMax);
      const bool is_scale = kind % kBoundKinds == static_cast<std::size_t>(Bound::kScale);
      if (is_scale || random.chance(0.5)) continue;
      const float value = kAbsurd[random.below(is_signed ? 3 : 2)];
      const double share = round % 2 == 0 ? 1.0 : 0.5;
      for (std::size_t b = 0; b < n_blocks; ++b) {
        if (random.chance(share)) owned.bounds[kind * n_blocks + b] = value;
      }
    }
    const BlockIndex index(owned.arrays(5), parts, items.n);
    CatalogueState catalogue{{items.view(), &index, nullptr, nullptr, 0}, {}, nullptr, items.n};
    catalogue.recent.view = {nullptr, nullptr, 0, 5, 0};
    Queries queries = steered_queries(random, round % 3 == 0 ? 9 : 1, 5, random.below(2), "relu");
    for (float& value : queries.user) value *= 30.0f;
    const SimdLevel level = supported_simd_levels()[round % supported_simd_levels().size()];
    const Answer answer = searched_answer(catalogue, level, {queries, 10, 1 + round % 2});
    for (const std::int64_t row : answer.rows) REQUIRE(row < 1500);
  }
}

TEST_CASE("searches at the same time") {
  Random random(6);
  const auto main = main_items(tagged_items(random, 9000, 12), {8, 4});
  const CatalogueState catalogue = state_of(*main);
  const Queries queries = steered_queries(random, 3, 12, 1, "relu");
  const TagFilter filter = random_filter(random, 3);
  const Question question{queries, 20, 3, {}, {}, &filter};
  const SimdLevel level = supported_simd_levels().back();
  const Answer expected = sorted_answer(catalogue, question);
  std::vector<Answer> answers(6);
  std::vector<std::thread> threads;
  for (Answer& answer : answers) {
    threads.emplace_back([&] { answer = searched_answer(catalogue, level, question); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Answer& answer : answers) CHECK(answer == expected);
}

TEST_CASE("denormal, huge, zero and equal items") {
  Random random(5);
  constexpr float kSpecial[] = {0.0f, -0.0f, 1e-45f, -1e-45f, 1e-38f, 1e-19f, 1.0f, -1.0f};
  for (std::size_t round = 0; round < 24; ++round) {
    const std::size_t dim = 1 + random.below(20);
    const std::size_t n = 1 + random.below(700);
    Items items{std::vector<float>(n * dim), {}, n, dim};
    for (float& value : items.vectors) value = round % 4 == 0 ? 0.0f : kSpecial[random.below(8)];
    if (round % 4 == 1) {  // beyond what bounds are made for: scanned in float32
      for (std::size_t i = 0; i < dim; ++i) items.vectors[i] = 1e17f;
    }
    const auto main = main_items(std::move(items), {dim});
    Queries queries =
        steered_queries(random, 1 + random.below(10), dim, 1, round % 2 == 0 ? "relu" : "softplus");
    if (round % 3 == 0) {
      for (float& value : queries.user) value *= 1e-40f;
    }
    if (round % 3 == 1) {
      for (float& value : queries.user) value *= 1e16f;
    }
    CAPTURE(round);
    check_all_levels(state_of(*main), {queries, 1 + random.below(n + 2)});
  }
}

}  // namespace
}  // namespace dpr::test
