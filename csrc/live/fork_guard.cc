#include "live/fork_guard.h"

#include <pthread.h>

#include <set>

namespace dpr {
namespace {

struct Registry {
  std::mutex mutex;
  std::set<ForkGuard*> guards;
};

// Never destroyed: guards may live as long as the process.
Registry& registry() {
  static Registry* const all = new Registry;
  return *all;
}

}  // namespace

ForkGuard::ForkGuard() : lasting_(new std::mutex) {
  static const bool installed = [] {
    pthread_atfork(&before_fork, &after_fork_in_parent, &after_fork_in_child);
    return true;
  }();
  static_cast<void>(installed);
  const std::lock_guard<std::mutex> lock(registry().mutex);
  registry().guards.insert(this);
}

ForkGuard::~ForkGuard() {
  {
    const std::lock_guard<std::mutex> lock(registry().mutex);
    registry().guards.erase(this);
  }
  delete lasting_;
}

void ForkGuard::before_fork() {
  registry().mutex.lock();
  for (ForkGuard* guard : registry().guards) guard->brief_.lock();
}

void ForkGuard::after_fork_in_parent() {
  for (ForkGuard* guard : registry().guards) guard->brief_.unlock();
  registry().mutex.unlock();
}

// The old lock, perhaps held by a thread that is not here, is left where it is.
void ForkGuard::after_fork_in_child() {
  for (ForkGuard* guard : registry().guards) guard->lasting_ = new std::mutex;
  after_fork_in_parent();
}

}  // namespace dpr
