// The pool: idle threads sleep until a job is listed; a job is a counter of tasks that all helpers draw from.
#include "threads/parallel_for.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <list>
#include <mutex>
#include <system_error>
#include <thread>

namespace dpr {
namespace {

struct Job {
  std::size_t n_tasks;
  const std::function<void(std::size_t, std::size_t)>* run;
  std::atomic<std::size_t> next{0};
  std::size_t helpers_wanted;  // guarded by the pool's mutex, as all below
  std::size_t n_slots = 1;     // slot 0 is the caller's
  std::size_t n_active = 0;
  std::exception_ptr error;
};

class Pool {
 public:
  void run(Job& job);
  void before_fork() { mutex_.lock(); }
  void after_fork() { mutex_.unlock(); }

 private:
  void serve();
  void work(Job& job, std::size_t slot);
  void start_threads(std::size_t wanted);

  std::mutex mutex_;
  std::condition_variable has_job_;
  std::condition_variable has_finished_;
  std::list<Job*> jobs_;
  std::size_t n_threads_ = 0;
};

void Pool::work(Job& job, std::size_t slot) {
  try {
    for (std::size_t i = job.next++; i < job.n_tasks; i = job.next++) (*job.run)(i, slot);
  } catch (...) {
    job.next = job.n_tasks;
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!job.error) job.error = std::current_exception();
  }
}

// Threads are detached and live as long as the process; they hold no work when nobody waits for it. Where the
// system gives no more of them, the work is done by those there are: the caller is one. The next job asks
// again.
void Pool::start_threads(std::size_t wanted) {
  try {
    for (; n_threads_ < wanted; ++n_threads_) std::thread([this] { serve(); }).detach();
  } catch (const std::system_error&) {
  }
}

void Pool::serve() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    has_job_.wait(lock, [this] { return !jobs_.empty(); });
    Job& job = *jobs_.front();
    const std::size_t slot = job.n_slots++;
    ++job.n_active;
    if (--job.helpers_wanted == 0) jobs_.pop_front();
    lock.unlock();
    work(job, slot);
    lock.lock();
    if (--job.n_active == 0) has_finished_.notify_all();
  }
}

void Pool::run(Job& job) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    start_threads(job.helpers_wanted);
    jobs_.push_back(&job);
  }
  has_job_.notify_all();
  work(job, 0);
  std::unique_lock<std::mutex> lock(mutex_);
  jobs_.remove(&job);
  has_finished_.wait(lock, [&job] { return job.n_active == 0; });
  if (job.error) std::rethrow_exception(job.error);
}

// Never destroyed: detached threads may still be asleep in it when the process ends.
Pool* the_pool = nullptr;

void in_child() {
  the_pool = new Pool;
}  // the parent's threads are not in the child, their pool is left alone

Pool& pool() {
  static const bool made = [] {
    the_pool = new Pool;
    pthread_atfork([] { the_pool->before_fork(); }, [] { the_pool->after_fork(); }, in_child);
    return true;
  }();
  static_cast<void>(made);
  return *the_pool;
}

}  // namespace

void parallel_for(std::size_t n_tasks, std::size_t threads,
                  const std::function<void(std::size_t, std::size_t)>& run) {
  const std::size_t used = std::min({threads, n_tasks, kMaxThreads});
  if (used <= 1) {
    for (std::size_t i = 0; i < n_tasks; ++i) run(i, 0);
    return;
  }
  Job job{};
  job.n_tasks = n_tasks;
  job.run = &run;
  job.helpers_wanted = used - 1;
  pool().run(job);
}

}  // namespace dpr
