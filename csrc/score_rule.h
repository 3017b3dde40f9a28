// What the experts of a bundle do to a score: their roles, their biases, and phi.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace dpr {

enum class Role { kToward, kAway };
enum class Phi { kRelu, kSoftplus };

class ScoreRule {
 public:
  // roles: "toward" or "away"; phi: "relu" or "softplus". Throws std::invalid_argument.
  ScoreRule(const std::vector<std::string>& roles, std::vector<float> biases, const std::string& phi,
            float gain);

  std::size_t n_experts() const { return roles_.size(); }
  Role role(std::size_t expert) const { return roles_[expert]; }
  float bias(std::size_t expert) const { return biases_[expert]; }
  const std::vector<float>& biases() const { return biases_; }
  Phi phi() const { return phi_; }
  float gain() const { return gain_; }

  std::vector<std::string> role_names() const;
  std::string phi_name() const;

 private:
  std::vector<Role> roles_;
  std::vector<float> biases_;
  Phi phi_;
  float gain_;
};

}  // namespace dpr
