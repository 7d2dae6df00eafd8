#include "isa/dispatch.h"

#include <omp.h>
#include <pthread.h>

#include <atomic>

namespace espalier {

namespace {

std::atomic<bool> forked{false};

const KernelTable* fastest_supported() {
  for (const KernelTable* table : kernel_tables()) {
    if (table->supported()) return table;
  }
  return &scalar_kernels;
}

std::atomic<const KernelTable*>& chosen() {
  static std::atomic<const KernelTable*> table{[] {
    pthread_atfork(nullptr, nullptr, [] { forked = true; });
    return fastest_supported();
  }()};
  return table;
}

}  // namespace

const std::vector<const KernelTable*>& kernel_tables() {
  static const std::vector<const KernelTable*> tables = {
#if defined(__x86_64__)
      &avx512_kernels,
      &avx2_kernels,
#endif
      &scalar_kernels,
  };
  return tables;
}

const KernelTable& kernels() { return *chosen().load(std::memory_order_relaxed); }

bool use_kernels(const std::string& name) {
  for (const KernelTable* table : kernel_tables()) {
    if (name == table->name && table->supported()) {
      chosen() = table;
      return true;
    }
  }
  return false;
}

int thread_count(int asked) {
  kernels();
  if (forked) return 1;
  return asked > 0 ? asked : omp_get_max_threads();
}

}  // namespace espalier
