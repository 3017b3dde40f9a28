// Prints a checksum of the index and of the answers of searches, a line for each case and level of this
// machine. The lines of one case are the same on every machine: nothing here asks the machine's own libm.
#include <cinttypes>
#include <cstdio>
#include <vector>

#include "dispatch.h"
#include "exact_answer.h"
#include "index/build_index.h"
#include "live/main_items.h"
#include "random_input.h"

namespace dpr::test {
namespace {

constexpr std::size_t kItems = 3000;
constexpr std::size_t kTop = 20;

// FNV-1a over the bytes of arrays.
class Checksum {
 public:
  template <class T>
  void add(const std::vector<T>& values) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(values.data());
    for (std::size_t i = 0; i < values.size() * sizeof(T); ++i) sum_ = (sum_ ^ bytes[i]) * 0x100000001b3u;
  }
  std::uint64_t sum() const { return sum_; }

 private:
  std::uint64_t sum_ = 0xcbf29ce484222325u;
};

// Items around four directions.
Items make_items(Random& random, std::size_t dim) {
  const std::vector<float> centres = random.normals(4 * dim);
  Items items{random.normals(kItems * dim), {}, kItems, dim};
  for (std::size_t i = 0; i < kItems; ++i) {
    const float* centre = centres.data() + random.below(4) * dim;
    const auto length = static_cast<float>(0.5 + random.uniform());
    for (std::size_t d = 0; d < dim; ++d) {
      float& value = items.vectors[i * dim + d];
      value = length * (centre[d] + 0.5f * value);
    }
  }
  return items;
}

void print(const std::string& name, SimdLevel level, const Checksum& sum) {
  std::printf("%s %s %016" PRIx64 "\n", name.c_str(), simd_level_name(level), sum.sum());
}

void print_answers(const std::string& name, const CatalogueState& catalogue, const Queries& queries) {
  for (const SimdLevel level : supported_simd_levels()) {
    for (const std::size_t threads : {std::size_t{1}, std::size_t{3}}) {
      Question question{queries, kTop};
      question.threads = threads;
      const Answer answer = searched_answer(catalogue, level, question);
      Checksum sum;
      sum.add(answer.rows);
      sum.add(answer.score_bits);
      print(name + ",threads=" + std::to_string(threads), level, sum);
    }
  }
}

void print_searches(Random& random, const std::string& name, const CatalogueState& catalogue) {
  const std::size_t dim = catalogue.main.view.dim;
  for (const std::size_t n : {std::size_t{1}, std::size_t{40}}) {
    const std::string of = name + ",queries=" + std::to_string(n);
    print_answers(of + ",plain", catalogue, plain_queries(random.normals(n * dim), dim));
    print_answers(of + ",relu", catalogue, steered_queries(random, n, dim, 2, "relu"));
    print_answers(of + ",softplus", catalogue, steered_queries(random, n, dim, 2, "softplus"));
  }
}

void print_case(const std::vector<std::size_t>& widths) {
  std::size_t dim = 0;
  std::string name = "parts=";
  for (const std::size_t width : widths) {
    name += (dim == 0 ? "" : "+") + std::to_string(width);
    dim += width;
  }
  Random random(dim);
  const Items items = make_items(random, dim);
  const Parts parts = Parts::from_widths(widths, dim);
  for (const SimdLevel level : supported_simd_levels()) {
    const OwnedIndex index = build_index(items.view(), parts, kernels_for(level), 2);
    Checksum sum;
    sum.add(index.codes);
    sum.add(index.rows);
    sum.add(index.cluster);
    sum.add(index.bounds);
    sum.add(index.centres);
    print(name + ",index", level, sum);
  }
  const auto indexed = main_items(items, widths);
  print_searches(random, name, state_of(*indexed));
  const auto dense = main_items(items, {});
  print_searches(random, name + ",dense", state_of(*dense));
}

}  // namespace
}  // namespace dpr::test

int main() {
  for (const std::vector<std::size_t>& widths :
       std::vector<std::vector<std::size_t>>{{5}, {64}, {64, 32}, {50, 30}}) {
    dpr::test::print_case(widths);
  }
  return 0;
}
