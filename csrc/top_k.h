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
inline bool precedes(const Candidate& a, const Candidate& b) {
  return a.score > b.score || (a.score == b.score && a.row < b.row);
}

// NaN takes part in the order as -inf: a comparison with NaN is always false, which would be no order at all.
inline float ordered_score(float score) {
  return score == score ? score : -std::numeric_limits<float>::infinity();
}

// A heap of at most `capacity` candidates whose front is the worst of them.
class TopK {
 public:
  explicit TopK(std::size_t capacity) : capacity_(capacity) { heap_.reserve(capacity); }

  // A score below the floor cannot enter. (Comparing NaN with it is false: ask admits.)
  float floor() const { return is_full() ? heap_.front().score : -std::numeric_limits<float>::infinity(); }

  bool admits(float score, std::int64_t row) const {
    return !is_full() || precedes({ordered_score(score), row}, heap_.front());
  }

  void offer(float score, std::int64_t row) {
    if (!admits(score, row)) return;
    if (is_full()) {
      std::pop_heap(heap_.begin(), heap_.end(), precedes);
      heap_.pop_back();
    }
    heap_.push_back({ordered_score(score), row});
    std::push_heap(heap_.begin(), heap_.end(), precedes);
  }

  // Best first; the heap is empty afterwards.
  std::vector<Candidate> take_sorted() {
    std::sort_heap(heap_.begin(), heap_.end(), precedes);
    return std::move(heap_);
  }

 private:
  bool is_full() const { return heap_.size() == capacity_; }

  std::size_t capacity_;  // >= 1
  std::vector<Candidate> heap_;
};

}  // namespace dpr
