#include "kernels.h"

namespace espalier {
const KernelTable scalar_kernels = {"scalar", "any processor", [] { return bool(true); }};
}  // namespace espalier
