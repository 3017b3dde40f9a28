#include "arranged_index.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "index/error_bound.h"
#include "index/item_geometry.h"

namespace dpr::test {
namespace {

class Arranger {
 public:
  Arranger(Random& random, const Items& items, const Parts& parts)
      : random_(random), items_(items), parts_(parts) {}

  OwnedIndex arrange(const Arrangement& arrangement) {
    cut_blocks(arrangement.largest_block);
    assign_clusters(arrangement.n_clusters);
    index_.codes.resize(n_blocks() * parts_.n_quads() * kQuadBytes);
    for (std::uint8_t& code : index_.codes) code = static_cast<std::uint8_t>(random_.below(256));
    index_.bounds.assign(parts_.count * kBoundKinds * n_blocks(), 0.0f);
    for (std::size_t b = 0; b < n_blocks(); ++b) {
      for (std::size_t p = 0; p < parts_.count; ++p) fill(b, p);
    }
    return std::move(index_);
  }

 private:
  std::size_t n_blocks() const { return index_.rows.size() / kBlockItems; }
  void cut_blocks(std::size_t largest);
  void assign_clusters(std::size_t n_clusters);
  void add_centre();
  float scale_of(std::size_t block, std::size_t part) const;
  void fill(std::size_t block, std::size_t part);
  void cover(std::size_t block, std::size_t part, std::size_t slot);

  std::size_t n_filled(std::size_t block) const {
    const auto first = index_.rows.begin() + static_cast<std::ptrdiff_t>(block * kBlockItems);
    return static_cast<std::size_t>(std::find(first, first + kBlockItems, kEmptySlot) - first);
  }
  const float* vector(std::size_t block, std::size_t slot, std::size_t part) const {
    return items_.vectors.data() + index_.rows[block * kBlockItems + slot] * items_.dim + parts_.begin[part];
  }
  float& bound(std::size_t block, std::size_t part, Bound kind) {
    return index_.bounds[(part * kBoundKinds + static_cast<std::size_t>(kind)) * n_blocks() + block];
  }
  std::uint8_t* codes(std::size_t block, std::size_t part) {
    return index_.codes.data() + block * parts_.n_quads() * kQuadBytes +
           (part == 0 ? 0 : parts_.n_quads(0) * kQuadBytes);
  }

  Random& random_;
  const Items& items_;
  const Parts& parts_;
  OwnedIndex index_;
};

// Rows in order: what matters is where blocks end.
void Arranger::cut_blocks(std::size_t largest) {
  for (std::size_t row = 0; row < items_.n;) {
    const std::size_t end = std::min(items_.n, row + 1 + random_.below(largest));
    for (std::size_t j = 0; j < kBlockItems; ++j) {
      index_.rows.push_back(row + j < end ? static_cast<std::uint32_t>(row + j) : kEmptySlot);
    }
    row = end;
  }
}

void Arranger::assign_clusters(std::size_t n_clusters) {
  for (std::size_t b = 0; b < n_blocks(); ++b) {
    index_.cluster.push_back(static_cast<std::uint32_t>(random_.below(n_clusters)));
  }
  std::sort(index_.cluster.begin(), index_.cluster.end());
  for (std::size_t c = 0; c < n_clusters; ++c) add_centre();
}

// Parts as long as they may be, or shorter, or 0.
void Arranger::add_centre() {
  for (std::size_t p = 0; p < parts_.count; ++p) {
    std::vector<float> centre = random_.normals(parts_.width[p]);
    double square = 0.0;
    for (const float value : centre) square += double{value} * double{value};
    const double lengths[] = {1.0 - 0x1p-22, 1.0 - 0x1p-22, random_.uniform(), 0.0};
    const double scale = square > 0.0 ? lengths[random_.below(4)] / std::sqrt(square) : 0.0;
    for (float& value : centre) value = static_cast<float>(value * scale);
    index_.centres.insert(index_.centres.end(), centre.begin(), centre.end());
  }
}

float Arranger::scale_of(std::size_t block, std::size_t part) const {
  float largest = 0.0f;
  for (std::size_t j = 0; j < n_filled(block); ++j) {
    for (std::size_t d = 0; d < parts_.width[part]; ++d) {
      largest = std::max(largest, std::fabs(vector(block, j, part)[d]));
    }
  }
  return std::max(kSmallestScale, round_up(double{largest} / 127.0));
}

void Arranger::fill(std::size_t block, std::size_t part) {
  bound(block, part, Bound::kScale) = scale_of(block, part);
  bound(block, part, Bound::kAlongMin) = std::numeric_limits<float>::max();
  bound(block, part, Bound::kAlongMax) = -std::numeric_limits<float>::max();
  for (std::size_t j = 0; j < n_filled(block); ++j) cover(block, part, j);
}

// Codes an item and widens the block's bounds to hold for it.
void Arranger::cover(std::size_t block, std::size_t part, std::size_t slot) {
  const float* item = vector(block, slot, part);
  const float* centre = index_.centres.data() + index_.cluster[block] * items_.dim + parts_.begin[part];
  const float scale = bound(block, part, Bound::kScale);
  std::uint8_t* own = codes(block, part) + 4 * slot;
  for (std::size_t d = 0; d < parts_.width[part]; ++d) {
    const double code = std::nearbyint(double{item[d]} / double{scale});
    own[d / 4 * kQuadBytes + d % 4] = static_cast<std::uint8_t>(code + 128.0);
  }
  const ItemGeometry got = item_geometry(item, centre, own, scale, parts_.width[part]);
  const auto raise = [&](Bound kind, double value) {
    bound(block, part, kind) = std::max(bound(block, part, kind), round_up(value));
  };
  raise(Bound::kCodeError, got.code_error);
  raise(Bound::kCodeNorm, got.code_norm);
  raise(Bound::kNorm, got.norm);
  raise(Bound::kAlongMax, got.along);
  raise(Bound::kAcross, got.across);
  float& along_min = bound(block, part, Bound::kAlongMin);
  along_min = std::min(along_min, round_down(got.along));
}

}  // namespace

OwnedIndex arranged_index(Random& random, const Items& items, const Parts& parts,
                          const Arrangement& arrangement) {
  return Arranger(random, items, parts).arrange(arrangement);
}

}  // namespace dpr::test
