// Choice of instruction set and number of threads: once at import, or by force.
#pragma once

#include <string>
#include <vector>

#include "isa/kernels.h"

namespace espalier {

// Every table compiled in, fastest first.
const std::vector<const KernelTable*>& kernel_tables();

// The table in force.
const KernelTable& kernels();

// Force the table of this name; false when it is unknown or this machine lacks it.
bool use_kernels(const std::string& name);

// Threads a call may use: `asked` when above 0, else OpenMP's own default; always 1 in a
// process forked from one that had run OpenMP, where a parallel region would hang.
int thread_count(int asked);

}  // namespace espalier
