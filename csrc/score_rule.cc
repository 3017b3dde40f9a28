// Parsing and checking a score rule.
#include "score_rule.h"

#include <cmath>
#include <stdexcept>
#include <utility>

#include "softplus.h"

namespace dpr {
namespace {

Role parse_role(const std::string& name, std::size_t expert) {
  if (name == "toward") return Role::kToward;
  if (name == "away") return Role::kAway;
  throw std::invalid_argument("roles[" + std::to_string(expert) + "]: expected 'toward' or 'away', got '" +
                              name + "'");
}

Phi parse_phi(const std::string& name) {
  if (name == "relu") return Phi::kRelu;
  if (name == "softplus") return Phi::kSoftplus;
  throw std::invalid_argument("phi: expected 'relu' or 'softplus', got '" + name + "'");
}

void check_bias(float bias, Role role, std::size_t expert) {
  const std::string name = "biases[" + std::to_string(expert) + "]";
  if (!std::isfinite(bias))
    throw std::invalid_argument(name + ": expected a finite float32, got " + std::to_string(bias));
  if (role == Role::kToward && bias != 0.0f) {
    throw std::invalid_argument(name + ": expected 0 for an expert with role 'toward', got " +
                                std::to_string(bias));
  }
}

}  // namespace

ScoreRule::ScoreRule(const std::vector<std::string>& roles, std::vector<float> biases, const std::string& phi,
                     float gain)
    : biases_(std::move(biases)), phi_(parse_phi(phi)), gain_(gain) {
  if (roles.size() != biases_.size()) {
    throw std::invalid_argument("biases: expected one for each of the " + std::to_string(roles.size()) +
                                " roles, got " + std::to_string(biases_.size()));
  }
  for (std::size_t e = 0; e < roles.size(); ++e) {
    roles_.push_back(parse_role(roles[e], e));
    check_bias(biases_[e], roles_[e], e);
  }
  if (!(std::isfinite(gain) && gain >= kMinGain)) {
    throw std::invalid_argument("gain: expected a finite float32 of at least 1e-30, got " +
                                std::to_string(gain));
  }
}

std::vector<std::string> ScoreRule::role_names() const {
  std::vector<std::string> names;
  for (const Role role : roles_) names.emplace_back(role == Role::kToward ? "toward" : "away");
  return names;
}

std::string ScoreRule::phi_name() const { return phi_ == Phi::kRelu ? "relu" : "softplus"; }

}  // namespace dpr
