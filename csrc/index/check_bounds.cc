// The full check of an index against its vectors.
#include <stdexcept>
#include <string>

#include "index/block_index.h"
#include "index/error_bound.h"
#include "index/item_geometry.h"

namespace dpr {
namespace {

struct Claim {
  const char* name;
  bool holds;
};

}  // namespace

void BlockIndex::check_bounds(const CatalogueView& catalogue) const {
  for (std::size_t b = 0; b < n_blocks(); ++b) {
    for (std::size_t p = 0; p < parts_.count; ++p) {
      const std::uint8_t* part_codes = codes(b) + (p == 0 ? 0 : parts_.n_quads(0) * kQuadBytes);
      const float* centre = centres(p) + cluster(b) * parts_.width[p];
      for (std::size_t j = 0; j < kBlockItems && rows(b)[j] != kEmptySlot; ++j) {
        const float* vector = catalogue.vectors + std::size_t{rows(b)[j]} * dim_ + parts_.begin[p];
        const ItemGeometry item =
            item_geometry(vector, centre, part_codes + 4 * j, bound(p, Bound::kScale)[b], parts_.width[p]);
        const Claim claims[] = {{"code_error", is_covered(item.code_error, bound(p, Bound::kCodeError)[b])},
                                {"code_norm", is_covered(item.code_norm, bound(p, Bound::kCodeNorm)[b])},
                                {"norm", is_covered(item.norm, bound(p, Bound::kNorm)[b])},
                                {"along_min", is_covered(-item.along, -bound(p, Bound::kAlongMin)[b])},
                                {"along_max", is_covered(item.along, bound(p, Bound::kAlongMax)[b])},
                                {"across", is_covered(item.across, bound(p, Bound::kAcross)[b])}};
        for (const Claim& claim : claims) {
          if (claim.holds) continue;
          throw std::invalid_argument("index: " + std::string(claim.name) + " of block " + std::to_string(b) +
                                      ", part " + std::to_string(p) +
                                      ": expected a bound on all its items, got " + "one that item row " +
                                      std::to_string(rows(b)[j]) + " breaks");
        }
      }
    }
  }
}

}  // namespace dpr
