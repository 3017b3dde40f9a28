// The living catalogue against a list of its items, and under many threads at once.
#include <doctest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <vector>

#include "exact_answer.h"
#include "live/live_catalogue.h"
#include "search/row_filter.h"

namespace dpr::test {
namespace {

constexpr std::size_t kDim = 6;

const KernelTable& best_kernels() { return kernels_for(supported_simd_levels().back()); }

std::unique_ptr<LiveCatalogue> make_catalogue(Random& random, std::size_t n, std::size_t n_rows) {
  std::shared_ptr<const MainItems> main = main_items(clustered_items(random, n, kDim), {4, 2});
  return std::make_unique<LiveCatalogue>(std::move(main), n_rows, best_kernels());
}

// What the catalogue should hold: by row, the vector and whether it is available.
struct Model {
  struct Item {
    std::vector<float> vector;
    bool is_available = true;
  };
  std::map<std::int64_t, Item> items;
  std::size_t n_rows = 0;

  std::vector<std::int64_t> pick(Random& random, std::size_t most) const {
    std::vector<std::int64_t> rows;
    for (const auto& item : items) rows.push_back(item.first);
    for (std::size_t i = 1; i < rows.size(); ++i) std::swap(rows[i], rows[random.below(i + 1)]);
    rows.resize(std::min(rows.size(), random.below(most + 1)));
    return rows;
  }
};

// The model's items as a catalogue of their own, searched in float32.
Answer answer_of(const Model& model, const Question& question) {
  Items items{{}, {}, 0, kDim};
  std::vector<std::int64_t> rows;
  for (const auto& [row, item] : model.items) {
    if (!item.is_available) continue;
    items.vectors.insert(items.vectors.end(), item.vector.begin(), item.vector.end());
    rows.push_back(row);
  }
  items.n = rows.size();
  CatalogueState state{{items.view(), nullptr, nullptr, rows.data(), 0}, {}, nullptr, model.n_rows};
  state.recent.view = {nullptr, nullptr, 0, kDim, 0};
  return sorted_answer(state, question);
}

void change(Random& random, LiveCatalogue& catalogue, Model& model) {
  const std::size_t kind = random.below(10);
  if (kind < 4) {
    const std::size_t n = random.below(90);
    const std::vector<float> vectors = random.normals(n * kDim);
    const std::int64_t first = catalogue.add(vectors.data(), nullptr, n);
    REQUIRE(first == static_cast<std::int64_t>(model.n_rows));
    for (std::size_t i = 0; i < n; ++i) {
      const auto begin = vectors.begin() + static_cast<std::ptrdiff_t>(i * kDim);
      model.items[static_cast<std::int64_t>(model.n_rows++)] = {{begin, begin + kDim}, true};
    }
  } else if (kind < 7) {
    const std::vector<std::int64_t> rows = model.pick(random, 60);
    catalogue.remove(rows.data(), rows.size());
    for (const std::int64_t row : rows) model.items.erase(row);
  } else if (kind < 9) {
    const std::vector<std::int64_t> rows = model.pick(random, 30);
    const bool available = random.chance(0.5);
    catalogue.set_available(rows.data(), rows.size(), available);
    for (const std::int64_t row : rows) model.items[row].is_available = available;
  } else {
    catalogue.compact(1 + random.below(2));
    REQUIRE(catalogue.n_pending() == 0);
  }
}

TEST_CASE("a long series of changes") {
  Random random(1);
  for (const std::size_t n_before : {5u, 64u, 130u, 700u}) {
    // Rows that were given out and removed before this catalogue was opened.
    const std::unique_ptr<LiveCatalogue> catalogue = make_catalogue(random, n_before, n_before + 3);
    Model model;
    model.n_rows = n_before + 3;
    const std::shared_ptr<const Snapshot> first = catalogue->snapshot();
    for (std::size_t i = 0; i < n_before; ++i) {
      const float* vector = first->main->view().vectors + i * kDim;
      model.items[static_cast<std::int64_t>(i)] = {{vector, vector + kDim}, true};
    }
    for (int step = 0; step < 80; ++step) {
      change(random, *catalogue, model);
      CAPTURE(n_before);
      CAPTURE(step);
      REQUIRE(catalogue->n_items() == model.items.size());
      const std::shared_ptr<const Snapshot> snapshot = catalogue->snapshot();
      REQUIRE(snapshot->n_rows == model.n_rows);
      const Queries queries = steered_queries(random, 1 + random.below(9), kDim, 1, "relu");
      const Question question{queries, 1 + random.below(40), 2};
      REQUIRE(searched_answer(snapshot->state(), best_kernels().level, question) ==
              answer_of(model, question));
    }
  }
}

TEST_CASE("all items removed, and new ones afterwards") {
  Random random(2);
  const std::unique_ptr<LiveCatalogue> catalogue = make_catalogue(random, 100, 100);
  std::vector<std::int64_t> rows(100);
  std::iota(rows.begin(), rows.end(), 0);
  catalogue->remove(rows.data(), rows.size());
  catalogue->compact(1);
  CHECK(catalogue->n_items() == 0);
  const Queries queries = plain_queries(std::vector<float>(kDim, 1.0f), kDim);
  const Answer none = searched_answer(catalogue->snapshot()->state(), best_kernels().level, {queries, 2});
  CHECK(none.rows == std::vector<std::int64_t>{-1, -1});
  const std::vector<float> vectors(2 * kDim, 1.0f);
  CHECK(catalogue->add(vectors.data(), nullptr, 2) == 100);
  catalogue->compact(1);
  const Answer two = searched_answer(catalogue->snapshot()->state(), best_kernels().level, {queries, 3});
  CHECK(two.rows == std::vector<std::int64_t>{100, 101, -1});
}

bool hides_any(const LiveCatalogue& catalogue) {
  const std::shared_ptr<const Snapshot> snapshot = catalogue.snapshot();
  const Exclusions no_exclusions;
  const AllowedRows all_rows;
  return RowFilter{snapshot->state().hidden, no_exclusions, all_rows, nullptr}.restricts(0);
}

TEST_CASE("rows that compaction took away hide nothing, whatever comes after") {
  Random random(4);
  const std::unique_ptr<LiveCatalogue> catalogue = make_catalogue(random, 200, 203);  // 3 were gone before
  CHECK_FALSE(hides_any(*catalogue));
  const std::vector<std::int64_t> gone = {0, 64, 199};
  catalogue->set_available(gone.data(), 2, false);  // two are switched off, and then removed
  catalogue->remove(gone.data(), gone.size());
  CHECK(hides_any(*catalogue));
  catalogue->compact(1);
  CHECK_FALSE(hides_any(*catalogue));
  const std::vector<float> vectors = random.normals(70 * kDim);
  const std::int64_t added = catalogue->add(vectors.data(), nullptr, 70);
  CHECK_FALSE(hides_any(*catalogue));
  const std::int64_t off = 5;
  for (const std::int64_t row : {off, added}) {
    catalogue->set_available(&row, 1, false);
    CHECK(hides_any(*catalogue));
    catalogue->compact(1);
    CHECK(hides_any(*catalogue));  // it may be switched on again
    catalogue->set_available(&row, 1, true);
    CHECK_FALSE(hides_any(*catalogue));
  }
}

TEST_CASE("wrong rows change nothing") {
  Random random(3);
  const std::unique_ptr<LiveCatalogue> catalogue = make_catalogue(random, 70, 70);
  const std::int64_t gone = 5;
  catalogue->remove(&gone, 1);
  const std::vector<std::int64_t> wrong[] = {{1, 70}, {2, -1}, {3, 5}, {4, 6, 4}};
  for (const std::vector<std::int64_t>& rows : wrong) {
    CHECK_THROWS_AS(catalogue->remove(rows.data(), rows.size()), std::invalid_argument);
    CHECK(catalogue->n_items() == 69);
  }
  CHECK_THROWS_AS(catalogue->set_available(wrong[2].data(), 2, false), std::invalid_argument);
  CHECK(catalogue->is_available(3));
}

// A window of the newest rows moves over the catalogue: row r scores r, a new row comes, the oldest goes. A
// search must see kWindow or kWindow + 1 rows without a hole, whatever compaction does meanwhile. The rows
// before them score -1 and are there for compaction to take its time.
constexpr std::size_t kBallast = 6000;
constexpr std::size_t kWindow = 150;

bool is_a_window(const std::vector<std::int64_t>& rows) {
  const auto is_row = [](std::int64_t row) { return row >= static_cast<std::int64_t>(kBallast); };
  const auto n = static_cast<std::size_t>(std::count_if(rows.begin(), rows.end(), is_row));
  if (n != kWindow && n != kWindow + 1) return false;
  for (std::size_t i = 1; i < n; ++i) {
    if (rows[i] != rows[i - 1] - 1) return false;
  }
  return true;
}

class MovingWindow {
 public:
  MovingWindow() {
    const std::size_t n = kBallast + kWindow;
    Items items{std::vector<float>(n * kDim), {}, n, kDim};
    for (std::size_t i = 0; i < n; ++i) {
      items.vectors[i * kDim] = i < kBallast ? -1.0f : static_cast<float>(i);
    }
    catalogue_ = std::make_unique<LiveCatalogue>(main_items(std::move(items), {kDim}), n, best_kernels());
  }

  void move() {
    std::vector<float> vector(kDim, 0.0f);
    vector[0] = static_cast<float>(catalogue_->snapshot()->n_rows);
    const std::int64_t row = catalogue_->add(vector.data(), nullptr, 1);
    const std::int64_t oldest = row - static_cast<std::int64_t>(kWindow);
    catalogue_->remove(&oldest, 1);
    search(1);  // at once: what is lost now will soon have left the window
  }

  void search(std::size_t threads) {
    std::vector<float> user(kDim, 0.0f);
    user[0] = 1.0f;
    const Queries queries = plain_queries(std::move(user), kDim);
    const std::shared_ptr<const Snapshot> snapshot = catalogue_->snapshot();
    const Question question{queries, kWindow + 3, threads};
    const Answer answer = searched_answer(snapshot->state(), best_kernels().level, question);
    if (!is_a_window(answer.rows)) ++n_wrong;
    ++n_searches;
  }

  void compact() {
    catalogue_->compact(2);
    ++n_compactions;
  }

  // Says of a row that it is available, as it is already. It may be gone by now.
  void repeat_available() {
    const std::int64_t row = static_cast<std::int64_t>(catalogue_->snapshot()->n_rows) - 1;
    try {
      catalogue_->set_available(&row, 1, true);
    } catch (const std::invalid_argument&) {
    }
    if (catalogue_->n_items() < kBallast + kWindow) ++n_wrong;
  }

  bool has_seen_enough() const { return n_searches > 2000 && n_compactions > 100; }
  std::size_t n_items() const { return catalogue_->n_items(); }

  std::atomic<int> n_wrong{0};

 private:
  std::unique_ptr<LiveCatalogue> catalogue_;
  std::atomic<int> n_searches{0};
  std::atomic<int> n_compactions{0};
};

TEST_CASE("searches see a whole state while others add, remove and compact") {
  MovingWindow window;
  std::atomic<bool> has_ended{false};
  const auto repeat = [&](auto step) {
    return std::thread([&has_ended, step] {
      while (!has_ended) step();
    });
  };
  std::thread others[] = {
      repeat([&] { window.search(1); }),
      repeat([&] { window.search(2); }),
      repeat([&] { window.compact(); }),
      repeat([&] { window.repeat_available(); }),
  };
  for (std::size_t step = 0; step < 1000 || !window.has_seen_enough(); ++step) window.move();
  has_ended = true;
  for (std::thread& other : others) other.join();
  CHECK(window.n_wrong.load() == 0);
  CHECK(window.n_items() == kBallast + kWindow);
}

}  // namespace
}  // namespace dpr::test
