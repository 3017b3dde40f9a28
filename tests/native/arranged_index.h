// Indexes over items in any arrangement that the format allows: blocks of any size, clusters of any number
// and direction, some of them empty. build_index makes one of few, and only of many items more than one
// cluster.
#pragma once

#include <cstddef>
#include <vector>

#include "index/build_index.h"
#include "random_input.h"

namespace dpr::test {

struct Arrangement {
  std::size_t largest_block;  // items, <= kBlockItems
  std::size_t n_clusters;
};

// Its bounds hold. Places of the codes that no item fills have random values.
OwnedIndex arranged_index(Random& random, const Items& items, const Parts& parts,
                          const Arrangement& arrangement);

}  // namespace dpr::test
