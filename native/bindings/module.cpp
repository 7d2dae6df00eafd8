#include "bindings/bindings.h"

NB_MODULE(_native, module) {
  module.doc() = "Native kernels of espalier; use them through espalier.kernels.";
  // An interpreter that exits while somebody still holds a plan is no fault to print about.
  nb::set_leak_warnings(false);
  bind_dispatch(module);
  bind_segment(module);
  bind_panels(module);
  bind_pattern(module);
  bind_rows(module);
  bind_spgemm(module);
  bind_text(module);
  bind_zeroskip(module);
}
