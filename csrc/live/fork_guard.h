// Locks that survive fork(): a child of a process with threads inherits memory, but not the threads that
// would unlock what they hold.
#pragma once

#include <mutex>

namespace dpr {

// Two locks of one owner. Before a fork, every living guard's `brief` is taken, so that nobody else holds it
// at that moment, and let go again on both sides. `lasting` may be held for long by a thread that the child
// does not have: the child gets a new one.
class ForkGuard {
 public:
  ForkGuard();
  ~ForkGuard();
  ForkGuard(const ForkGuard&) = delete;
  ForkGuard& operator=(const ForkGuard&) = delete;

  std::mutex& brief() const { return brief_; }
  std::mutex& lasting() const { return *lasting_; }

 private:
  static void before_fork();
  static void after_fork_in_parent();
  static void after_fork_in_child();

  mutable std::mutex brief_;
  std::mutex* lasting_;
};

}  // namespace dpr
