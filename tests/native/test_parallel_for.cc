// The thread pool: every task once, slots of its own for each thread, exceptions, many callers, nesting,
// threads that the system refuses.
#include <dlfcn.h>
#include <doctest.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "threads/parallel_for.h"

namespace dpr::test {
namespace {

// How many more threads the system gives; below 0, as many as it has.
std::atomic<int> n_threads_left{-1};
std::atomic<int> n_threads_refused{0};

}  // namespace
}  // namespace dpr::test

// Stands before the library's own, for std::thread as well.
extern "C" [[gnu::visibility("default")]] int pthread_create(pthread_t* thread,
                                                             const pthread_attr_t* attributes,
                                                             void* (*start)(void*), void* argument) {
  using Create = int(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static Create* const create = reinterpret_cast<Create*>(dlsym(RTLD_NEXT, "pthread_create"));
  if (dpr::test::n_threads_left == 0) {
    ++dpr::test::n_threads_refused;
    return EAGAIN;
  }
  if (dpr::test::n_threads_left > 0) --dpr::test::n_threads_left;
  return create(thread, attributes, start, argument);
}

namespace dpr::test {
namespace {

// First of all: threads that the pool has once are never given back.
TEST_CASE("where the system refuses threads, the others do the work") {
  for (const int n_given : {0, 1, 3}) {
    n_threads_left = n_given;
    n_threads_refused = 0;
    for (int round = 0; round < 20; ++round) {
      std::vector<std::atomic<int>> runs(1000);
      REQUIRE_NOTHROW(parallel_for(runs.size(), 40, [&](std::size_t task, std::size_t) { ++runs[task]; }));
      for (const std::atomic<int>& count : runs) REQUIRE(count == 1);
    }
    n_threads_left = -1;
    REQUIRE(n_threads_refused > 0);
  }
}

TEST_CASE("every task runs once, whatever the number of threads") {
  for (const std::size_t threads : {1u, 2u, 3u, 8u, 300u}) {
    for (const std::size_t n : {0u, 1u, 2u, 7u, 1000u}) {
      CAPTURE(threads);
      CAPTURE(n);
      std::vector<std::atomic<int>> runs(n);
      parallel_for(n, threads, [&](std::size_t task, std::size_t) { ++runs[task]; });
      for (const std::atomic<int>& count : runs) REQUIRE(count == 1);
    }
  }
}

TEST_CASE("tasks that run at the same time have slots of their own") {
  constexpr std::size_t kThreads = 4;
  std::vector<std::atomic<bool>> is_taken(kThreads);
  std::atomic<bool> clash{false};
  std::vector<std::size_t> sums(kThreads);  // not atomic: a shared slot would be a data race
  parallel_for(5000, kThreads, [&](std::size_t task, std::size_t slot) {
    if (slot >= kThreads || is_taken[slot].exchange(true)) {
      clash = true;
      return;
    }
    sums[slot] += task;
    is_taken[slot] = false;
  });
  CHECK_FALSE(clash);
  std::size_t total = 0;
  for (const std::size_t sum : sums) total += sum;
  CHECK(total == 5000 * 4999 / 2);
}

TEST_CASE("what tasks wrote is there when the call returns") {
  std::vector<int> values(3000);
  for (int round = 0; round < 50; ++round) {
    parallel_for(values.size(), 3, [&](std::size_t task, std::size_t) { ++values[task]; });
    for (const int value : values) REQUIRE(value == round + 1);
  }
}

TEST_CASE("an exception stops the rest and comes out, again and again") {
  for (const std::size_t threads : {1u, 4u}) {
    for (int round = 0; round < 20; ++round) {
      std::atomic<std::size_t> n_run{0};
      const auto task = [&](std::size_t i, std::size_t) {
        ++n_run;
        if (i >= 10) throw std::runtime_error("task " + std::to_string(i));
      };
      REQUIRE_THROWS_AS(parallel_for(100000, threads, task), std::runtime_error);
      REQUIRE(n_run < 100000);
    }
  }
  std::atomic<int> n_run{0};
  parallel_for(100, 4, [&](std::size_t, std::size_t) { ++n_run; });
  CHECK(n_run == 100);
}

TEST_CASE("tasks may call it themselves") {
  std::atomic<std::size_t> total{0};
  parallel_for(20, 4, [&](std::size_t outer, std::size_t) {
    parallel_for(50, 4, [&](std::size_t inner, std::size_t) { total += outer * inner; });
  });
  CHECK(total == (20 * 19 / 2) * (50 * 49 / 2));
}

TEST_CASE("many callers share the pool") {
  std::vector<std::thread> callers;
  std::vector<std::size_t> totals(8);
  for (std::size_t c = 0; c < totals.size(); ++c) {
    callers.emplace_back([&totals, c] {
      for (int round = 0; round < 40; ++round) {
        std::atomic<std::size_t> sum{0};
        parallel_for(100, 1 + c % 5, [&](std::size_t task, std::size_t) { sum += task; });
        totals[c] += sum;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  for (const std::size_t total : totals) CHECK(total == 40 * (100 * 99 / 2));
}

}  // namespace
}  // namespace dpr::test
