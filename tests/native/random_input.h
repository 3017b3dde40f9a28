// Random catalogues and queries, the same in every run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "catalogue_view.h"
#include "query_batch.h"
#include "score_rule.h"
#include "simd_level.h"

namespace dpr::test {

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}

  std::size_t below(std::size_t n) { return engine_() % n; }
  std::int64_t between(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(below(static_cast<std::size_t>(high - low + 1)));
  }
  double uniform() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }
  bool chance(double probability) { return uniform() < probability; }
  // Near enough to normal: the sum of twelve uniform numbers.
  float normal();
  std::vector<float> normals(std::size_t n);

 private:
  std::mt19937_64 engine_;
};

// A catalogue that owns its arrays. Without tags n_tag_words is 0.
struct Items {
  std::vector<float> vectors;
  std::vector<std::uint64_t> tag_bits;
  std::size_t n;
  std::size_t dim;
  std::size_t n_tag_words = 0;

  CatalogueView view() const { return {vectors.data(), tag_bits.data(), n, dim, n_tag_words}; }
};

// Items around a few directions, as learned embeddings lie; lengths differ.
Items clustered_items(Random& random, std::size_t n, std::size_t dim);

// Small whole numbers as coordinates: many equal scores.
Items tied_items(Random& random, std::size_t n, std::size_t dim);

// Queries that own their arrays.
struct Queries {
  std::vector<float> user;
  std::vector<float> experts;
  std::vector<float> gates;
  std::vector<float> strength;
  std::size_t n;
  std::size_t dim;
  ScoreRule rule;

  QueryBatch batch() const;
};

Queries plain_queries(std::vector<float> user, std::size_t dim);

// Normal vectors, one expert toward and n_away away; of the gates and strengths a quarter is 0.
Queries steered_queries(Random& random, std::size_t n, std::size_t dim, std::size_t n_away,
                        const std::string& phi);

}  // namespace dpr::test
