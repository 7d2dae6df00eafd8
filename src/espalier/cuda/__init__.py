"""NVIDIA GPUs: kernels in CUDA C++ compiled at run time, devices, and arrays on them.

Importing this looks for no driver; that happens when the first device is opened.
"""

from espalier.cuda.device import Device, Event, Memory, open_device, parse_device

__all__ = ["Device", "Event", "Memory", "open_device", "parse_device"]
