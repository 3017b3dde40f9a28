#include "random_input.h"

#include <cmath>

namespace dpr::test {
namespace {

constexpr std::size_t kDirections = 12;

std::vector<float> weights(Random& random, std::size_t n) {
  std::vector<float> values(n);
  for (float& value : values) value = random.chance(0.75) ? std::fabs(random.normal()) : 0.0f;
  return values;
}

}  // namespace

float Random::normal() {
  double sum = -6.0;
  for (int i = 0; i < 12; ++i) sum += uniform();
  return static_cast<float>(sum);
}

std::vector<float> Random::normals(std::size_t n) {
  std::vector<float> values(n);
  for (float& value : values) value = normal();
  return values;
}

Items clustered_items(Random& random, std::size_t n, std::size_t dim) {
  const std::vector<float> centres = random.normals(kDirections * dim);
  Items items{std::vector<float>(n * dim), {}, n, dim};
  for (std::size_t i = 0; i < n; ++i) {
    const float* centre = centres.data() + random.below(kDirections) * dim;
    const float length = std::exp(0.4f * random.normal());
    for (std::size_t d = 0; d < dim; ++d) {
      items.vectors[i * dim + d] = length * (centre[d] + 0.4f * random.normal());
    }
  }
  return items;
}

Items tied_items(Random& random, std::size_t n, std::size_t dim) {
  Items items{std::vector<float>(n * dim), {}, n, dim};
  for (float& value : items.vectors) value = static_cast<float>(random.between(-2, 2));
  return items;
}

QueryBatch Queries::batch() const {
  return {user.data(), experts.data(), gates.data(), strength.data(), n, dim, rule.n_experts(), dim};
}

Queries plain_queries(std::vector<float> user, std::size_t dim) {
  const std::size_t n = user.size() / dim;
  return {std::move(user), {}, {}, std::vector<float>(n, 1.0f), n, dim, ScoreRule({}, {}, "relu", 1.0f)};
}

Queries steered_queries(Random& random, std::size_t n, std::size_t dim, std::size_t n_away,
                        const std::string& phi) {
  std::vector<std::string> roles(1 + n_away, "away");
  std::vector<float> biases(1 + n_away, -0.5f);
  roles[0] = "toward";
  biases[0] = 0.0f;
  const std::size_t n_experts = roles.size();
  return {random.normals(n * dim),
          random.normals(n * n_experts * dim),
          weights(random, n * n_experts),
          weights(random, n),
          n,
          dim,
          ScoreRule(roles, biases, phi, 3.0f)};
}

}  // namespace dpr::test
