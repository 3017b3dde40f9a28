// The bounded container against a full sort, as a heap and as a reservoir.
#include <doctest.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "random_input.h"
#include "search/top_k.h"

namespace dpr::test {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr std::size_t kCapacities[] = {1, 2, 3, 10, 23, 24, 25, 100};

// Few different scores, so that rows decide; now and then an overflow.
std::vector<Candidate> stream(Random& random, std::size_t n) {
  std::vector<Candidate> all(n);
  for (std::size_t i = 0; i < n; ++i)
    all[i] = {static_cast<float>(random.between(-9, 9)), static_cast<std::int64_t>(i)};
  for (std::size_t i = 1; i < n; ++i) std::swap(all[i].row, all[random.below(i + 1)].row);
  for (Candidate& candidate : all) {
    if (random.chance(0.05)) candidate.score = std::numeric_limits<float>::quiet_NaN();
    if (random.chance(0.05)) candidate.score = -kInfinity;
  }
  return all;
}

std::vector<Candidate> best_of(std::vector<Candidate> all, std::size_t k) {
  for (Candidate& candidate : all) candidate.score = ordered_score(candidate.score);
  std::sort(all.begin(), all.end(), Precedes());
  all.resize(std::min(all.size(), k));
  return all;
}

bool are_equal(const std::vector<Candidate>& a, const std::vector<Candidate>& b) {
  const auto same = [](const Candidate& x, const Candidate& y) {
    return x.score == y.score && x.row == y.row;
  };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), same);
}

TEST_CASE("the best of a stream") {
  Random random(1);
  for (const std::size_t capacity : kCapacities) {
    for (const std::size_t n : {0u, 1u, 9u, 23u, 24u, 25u, 48u, 199u, 200u, 201u, 2000u}) {
      CAPTURE(capacity);
      CAPTURE(n);
      const std::vector<Candidate> all = stream(random, n);
      TopK top(capacity);
      float floor = -kInfinity;
      for (const Candidate& candidate : all) {
        top.offer(candidate.score, candidate.row);
        REQUIRE(top.floor() >= floor);
        floor = top.floor();
      }
      const std::vector<Candidate> expected = best_of(all, capacity);
      // The floor is reached by `capacity` candidates: nothing below it can be among the best.
      if (n >= capacity) REQUIRE(floor <= expected.back().score);
      if (n < capacity) REQUIRE(floor == -kInfinity);
      REQUIRE(are_equal(top.take_sorted(), expected));
    }
  }
}

TEST_CASE("merging streams is one stream") {
  Random random(2);
  for (const std::size_t capacity : kCapacities) {
    CAPTURE(capacity);
    const std::vector<Candidate> all = stream(random, 900);
    TopK parts[3] = {TopK(capacity), TopK(capacity), TopK(capacity)};
    for (const Candidate& candidate : all) parts[random.below(3)].offer(candidate.score, candidate.row);
    TopK merged(capacity);
    for (const TopK& part : parts) merged.merge(part);
    REQUIRE(are_equal(merged.take_sorted(), best_of(all, capacity)));
  }
}

}  // namespace
}  // namespace dpr::test
