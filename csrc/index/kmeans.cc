#include "index/kmeans.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "fp_environment.h"
#include "threads/parallel_for.h"

namespace dpr {
namespace {

constexpr std::size_t kSamplePerCluster = 64;
constexpr int kRounds = 8;
constexpr std::size_t kTaskItems = 4096;

// Rows spread evenly over the catalogue: which items of a catalogue are alike has little to do with spacing.
std::vector<std::uint32_t> sample_rows(std::size_t n_items, std::size_t n_wanted) {
  const std::size_t n = std::min(n_items, n_wanted);
  std::vector<std::uint32_t> rows(n);
  for (std::size_t i = 0; i < n; ++i) {
    rows[i] = static_cast<std::uint32_t>(static_cast<unsigned long long>(i) * n_items / n);
  }
  return rows;
}

double norm_of(const float* vector, std::size_t dim) {
  double square = 0.0;
  for (std::size_t d = 0; d < dim; ++d) square += double{vector[d]} * double{vector[d]};
  return std::sqrt(square);
}

std::uint32_t best_centre(const float* dots, std::size_t n) {
  std::size_t best = 0;
  for (std::size_t c = 1; c < n; ++c) {
    if (dots[c] > dots[best]) best = c;
  }
  return static_cast<std::uint32_t>(best);
}

class Learner {
 public:
  Learner(const CatalogueView& catalogue, const KernelTable& kernels, std::size_t n_clusters,
          std::size_t threads)
      : catalogue_(catalogue),
        kernels_(kernels),
        n_clusters_(n_clusters),
        threads_(threads),
        centres_(n_clusters * catalogue.dim) {}

  void learn();
  std::vector<std::uint32_t> assign(const std::vector<std::uint32_t>* rows) const;
  std::vector<float> take_centres() { return std::move(centres_); }

 private:
  const float* vector(std::size_t row) const { return catalogue_.vectors + row * catalogue_.dim; }
  void start(const std::vector<std::uint32_t>& sample);
  void move(const std::vector<std::uint32_t>& sample, const std::vector<std::uint32_t>& assignment);

  const CatalogueView& catalogue_;
  const KernelTable& kernels_;
  std::size_t n_clusters_;
  std::size_t threads_;
  std::vector<float> centres_;
};

void set_unit(const double* sum, std::size_t dim, float* centre) {
  double square = 0.0;
  for (std::size_t d = 0; d < dim; ++d) square += sum[d] * sum[d];
  // The sum of the directions of a cluster is no shorter than rounding only where there is no direction.
  const double scale = square > 0.0 ? 1.0 / std::sqrt(square) : 0.0;
  for (std::size_t d = 0; d < dim; ++d) centre[d] = static_cast<float>(sum[d] * scale);
}

void Learner::start(const std::vector<std::uint32_t>& sample) {
  std::vector<std::uint32_t> order(sample);
  std::mt19937_64 random(20260101);
  for (std::size_t i = 0; i < n_clusters_;
       ++i) {  // a partial shuffle; std::shuffle differs between libraries
    std::swap(order[i], order[i + random() % (order.size() - i)]);
  }
  for (std::size_t c = 0; c < n_clusters_; ++c) {
    std::vector<double> wide(vector(order[c]), vector(order[c]) + catalogue_.dim);
    set_unit(wide.data(), catalogue_.dim, centres_.data() + c * catalogue_.dim);
  }
}

// A centre without items keeps its place.
void Learner::move(const std::vector<std::uint32_t>& sample, const std::vector<std::uint32_t>& assignment) {
  const std::size_t dim = catalogue_.dim;
  std::vector<double> sums(n_clusters_ * dim, 0.0);
  std::vector<std::size_t> counts(n_clusters_, 0);
  for (std::size_t i = 0; i < sample.size(); ++i) {
    const float* item = vector(sample[i]);
    const double norm = norm_of(item, dim);
    if (norm == 0.0) continue;
    double* sum = sums.data() + assignment[i] * dim;
    for (std::size_t d = 0; d < dim; ++d) sum[d] += double{item[d]} / norm;
    ++counts[assignment[i]];
  }
  for (std::size_t c = 0; c < n_clusters_; ++c) {
    if (counts[c] > 0) set_unit(sums.data() + c * dim, dim, centres_.data() + c * dim);
  }
}

void Learner::learn() {
  const std::vector<std::uint32_t> sample = sample_rows(catalogue_.n_items, kSamplePerCluster * n_clusters_);
  start(sample);
  for (int round = 0; round < kRounds && n_clusters_ > 1; ++round) move(sample, assign(&sample));
}

// The centres of the given rows, or of all items.
std::vector<std::uint32_t> Learner::assign(const std::vector<std::uint32_t>* rows) const {
  const std::size_t n = rows != nullptr ? rows->size() : catalogue_.n_items;
  std::vector<std::uint32_t> assignment(n, 0);
  if (n_clusters_ == 1) return assignment;
  parallel_for((n + kTaskItems - 1) / kTaskItems, threads_, [&](std::size_t task, std::size_t) {
    const FpEnvironment environment;
    std::vector<float> dots(n_clusters_);
    for (std::size_t i = task * kTaskItems; i < std::min(n, (task + 1) * kTaskItems); ++i) {
      const float* item = vector(rows != nullptr ? (*rows)[i] : i);
      kernels_.dot_rows_f32(item, centres_.data(), n_clusters_, catalogue_.dim, dots.data());
      assignment[i] = best_centre(dots.data(), n_clusters_);
    }
  });
  return assignment;
}

}  // namespace

Clusters cluster_items(const CatalogueView& catalogue, const KernelTable& kernels, std::size_t n_clusters,
                       std::size_t threads) {
  Learner learner(catalogue, kernels, n_clusters, threads);
  learner.learn();
  std::vector<std::uint32_t> assignment = learner.assign(nullptr);
  return {learner.take_centres(), std::move(assignment)};
}

}  // namespace dpr
