#include "index/kmeans.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "fp_environment.h"
#include "threads/parallel_for.h"

namespace dpr {
namespace {

constexpr std::size_t kSamplePerCluster = 64;
constexpr int kRounds = 8;
constexpr std::size_t kTaskItems = 4096;

// Evenly spread: which items of a catalogue are alike has little to do with spacing.
std::vector<std::uint32_t> sample_of(const std::vector<std::uint32_t>& rows, std::size_t n_wanted) {
  const std::size_t n = std::min(rows.size(), n_wanted);
  std::vector<std::uint32_t> sample(n);
  for (std::size_t i = 0; i < n; ++i) sample[i] = rows[i * rows.size() / n];
  return sample;
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

// Splitting a cluster again: into so many at most, if that brings its items so much nearer to their centres.
constexpr std::size_t kMostSplits = 8;
constexpr std::size_t kSmallestSplit = 128;  // items
constexpr double kWorthwhile = 0.85;

class Learner {
 public:
  Learner(const CatalogueView& catalogue, const KernelTable& kernels, std::size_t n_clusters,
          std::size_t threads)
      : catalogue_(catalogue),
        kernels_(kernels),
        n_clusters_(n_clusters),
        threads_(threads),
        centres_(n_clusters * catalogue.dim) {}

  void learn(const std::vector<std::uint32_t>& rows);
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

// Centres from a sample of the rows.
void Learner::learn(const std::vector<std::uint32_t>& rows) {
  const std::vector<std::uint32_t> sample = sample_of(rows, kSamplePerCluster * n_clusters_);
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

// Distances of items from the lines of their centres, summed.
double total_distance(const CatalogueView& catalogue, const std::vector<std::uint32_t>& rows,
                      const std::vector<float>& centres, const std::vector<std::uint32_t>& assignment) {
  double total = 0.0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const float* item = catalogue.vectors + rows[i] * catalogue.dim;
    const float* centre = centres.data() + assignment[i] * catalogue.dim;
    double dot = 0.0;
    double square = 0.0;
    for (std::size_t d = 0; d < catalogue.dim; ++d) {
      dot += double{item[d]} * double{centre[d]};
      square += double{item[d]} * double{item[d]};
    }
    total += std::sqrt(std::max(0.0, square - dot * dot));
  }
  return total;
}

// A catalogue may have more natural clusters than were asked for, each far tighter: one more level, cluster
// by cluster, where it pays. (Where items are spread around their centre evenly, it does not.)
class Splitter {
 public:
  Splitter(const CatalogueView& catalogue, const KernelTable& kernels, Clusters& clusters)
      : catalogue_(catalogue), kernels_(kernels), clusters_(clusters) {}

  void run(std::size_t threads);

 private:
  struct Part {
    std::vector<std::uint32_t> rows;
    std::vector<float> centres;             // empty: not split
    std::vector<std::uint32_t> assignment;  // (rows,)
  };

  void split(std::size_t cluster);

  const CatalogueView& catalogue_;
  const KernelTable& kernels_;
  Clusters& clusters_;
  std::vector<Part> parts_;
};

void Splitter::split(std::size_t cluster) {
  Part& part = parts_[cluster];
  const std::size_t n = std::min(kMostSplits, part.rows.size() / kSmallestSplit);
  if (n < 2) return;
  Learner learner(catalogue_, kernels_, n, 1);
  learner.learn(part.rows);
  std::vector<std::uint32_t> assignment = learner.assign(&part.rows);
  std::vector<float> centres = learner.take_centres();
  const float* own = clusters_.centres.data() + cluster * catalogue_.dim;
  const double before = total_distance(catalogue_, part.rows, {own, own + catalogue_.dim},
                                       std::vector<std::uint32_t>(part.rows.size(), 0));
  if (total_distance(catalogue_, part.rows, centres, assignment) > kWorthwhile * before) return;
  part.centres = std::move(centres);
  part.assignment = std::move(assignment);
}

void Splitter::run(std::size_t threads) {
  const std::size_t dim = catalogue_.dim;
  parts_.resize(clusters_.centres.size() / dim);
  for (std::size_t i = 0; i < clusters_.assignment.size(); ++i) {
    parts_[clusters_.assignment[i]].rows.push_back(static_cast<std::uint32_t>(i));
  }
  parallel_for(parts_.size(), threads, [this](std::size_t cluster, std::size_t) {
    const FpEnvironment environment;
    split(cluster);
  });
  std::vector<float> centres;
  for (std::size_t c = 0; c < parts_.size(); ++c) {
    const auto first = static_cast<std::uint32_t>(centres.size() / dim);
    const bool is_split = !parts_[c].centres.empty();
    for (std::size_t i = 0; i < parts_[c].rows.size(); ++i) {
      clusters_.assignment[parts_[c].rows[i]] = first + (is_split ? parts_[c].assignment[i] : 0);
    }
    const float* own = clusters_.centres.data() + c * dim;
    if (is_split) {
      centres.insert(centres.end(), parts_[c].centres.begin(), parts_[c].centres.end());
    } else {
      centres.insert(centres.end(), own, own + dim);
    }
  }
  clusters_.centres = std::move(centres);
}

}  // namespace

Clusters cluster_items(const CatalogueView& catalogue, const KernelTable& kernels, std::size_t n_clusters,
                       std::size_t threads) {
  Learner learner(catalogue, kernels, n_clusters, threads);
  std::vector<std::uint32_t> everything(catalogue.n_items);
  std::iota(everything.begin(), everything.end(), 0u);
  learner.learn(everything);
  Clusters clusters;
  clusters.assignment = learner.assign(nullptr);
  clusters.centres = learner.take_centres();
  if (n_clusters > 1) Splitter(catalogue, kernels, clusters).run(threads);
  return clusters;
}

}  // namespace dpr
