// The best k of a stream of scored rows, by one total order.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace dpr {

struct Candidate {
  float score;  // never NaN
  std::int64_t row;
};

// The order of results: score descending, then row ascending.
// A type and not a function, so that the algorithms below have it inlined.
struct Precedes {
  bool operator()(const Candidate& a, const Candidate& b) const {
    return a.score > b.score || (a.score == b.score && a.row < b.row);
  }
};

// NaN takes part in the order as -inf: a comparison with NaN is always false, which would be no order at all.
inline float ordered_score(float score) {
  return score == score ? score : -std::numeric_limits<float>::infinity();
}

// At most `capacity` candidates and the worst of them. Small capacities keep a heap; larger ones a reservoir
// that is filled past the capacity and cut back by a partial sort, which costs less a candidate (at 100 of a
// million, a third less for the whole search).
class TopK {
 public:
  explicit TopK(std::size_t capacity) : capacity_(capacity), is_heap_(capacity < kSmallestReservoir) {
    if (is_heap_) kept_.reserve(capacity);
  }

  // A score below the floor cannot enter. (Comparing NaN with it is false: ask admits.)
  float floor() const { return worst_.score; }

  bool admits(float score, std::int64_t row) const {
    return !is_full_ || Precedes()({ordered_score(score), row}, worst_);
  }

  void offer(float score, std::int64_t row) {
    if (!admits(score, row)) return;
    if (is_heap_) {
      offer_to_heap({ordered_score(score), row});
    } else {
      offer_to_reservoir({ordered_score(score), row});
    }
  }

  // Takes over everything that `other` holds.
  void merge(const TopK& other) {
    for (const Candidate& candidate : other.kept_) offer(candidate.score, candidate.row);
  }

  // Best first; nothing is left afterwards.
  std::vector<Candidate> take_sorted() {
    if (is_heap_) {
      std::sort_heap(kept_.begin(), kept_.end(), Precedes());
    } else {
      if (kept_.size() > capacity_) cut_back();
      std::sort(kept_.begin(), kept_.end(), Precedes());
    }
    return std::move(kept_);
  }

 private:
  static constexpr std::size_t kSmallestReservoir = 24;

  void offer_to_heap(const Candidate& candidate) {
    if (is_full_) {
      std::pop_heap(kept_.begin(), kept_.end(), Precedes());
      kept_.pop_back();
    }
    kept_.push_back(candidate);
    std::push_heap(kept_.begin(), kept_.end(), Precedes());
    is_full_ = kept_.size() == capacity_;
    if (is_full_) worst_ = kept_.front();
  }

  void offer_to_reservoir(const Candidate& candidate) {
    kept_.push_back(candidate);
    if (kept_.size() == capacity_ && !is_full_) {
      is_full_ = true;
      worst_ = *std::max_element(kept_.begin(), kept_.end(), Precedes());
    } else if (kept_.size() >= 2 * capacity_) {
      cut_back();
    }
  }

  void cut_back() {
    const auto last = kept_.begin() + static_cast<std::ptrdiff_t>(capacity_) - 1;
    std::nth_element(kept_.begin(), last, kept_.end(), Precedes());
    worst_ = *last;
    kept_.resize(capacity_);
  }

  std::size_t capacity_;  // >= 1
  bool is_heap_;
  bool is_full_ = false;
  Candidate worst_{-std::numeric_limits<float>::infinity(), 0};  // of the kept, once there are enough
  std::vector<Candidate> kept_;
};

}  // namespace dpr
