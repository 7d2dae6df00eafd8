"""Inference on an NVIDIA GPU: the plan of the CPU, cut into segments for the device's kernels."""

from espalier.inference.gpu.plan import GpuPlan
from espalier.inference.gpu.result import DeviceSeconds, GpuResult

__all__ = ["DeviceSeconds", "GpuPlan", "GpuResult"]
