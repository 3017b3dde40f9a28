// Sharing work among threads: one pool a process, made when first asked for.
#pragma once

#include <cstddef>
#include <functional>

namespace dpr {

constexpr std::size_t kMaxThreads = 256;

// Runs task(i, slot) for every i < n_tasks on the caller and at most threads - 1 threads of the pool; which
// thread runs which is decided as they go. slot < threads differs between those that run at the same time,
// for scratch space. The caller takes part from the start and waits for nobody who has not begun, so any
// number of callers may share the pool. Where the system refuses a thread, fewer run, or the caller alone.
// Rethrows the first exception of a task, after all have stopped.
//
// After fork() the child starts with a pool of its own; threads of the parent are never waited for.
void parallel_for(std::size_t n_tasks, std::size_t threads,
                  const std::function<void(std::size_t task, std::size_t slot)>& run);

}  // namespace dpr
