"""Inference: compile a network into a plan, run the plan, read the report."""

from espalier.inference.gpu import GpuPlan, GpuResult
from espalier.inference.options import FILTERS
from espalier.inference.plan import Plan, compile, infer
from espalier.inference.result import Report, Result, Shortcut
from espalier.inference.strategies import STRATEGIES, StrategyPlan

__all__ = [
    "FILTERS",
    "STRATEGIES",
    "GpuPlan",
    "GpuResult",
    "Plan",
    "Report",
    "Result",
    "Shortcut",
    "StrategyPlan",
    "compile",
    "infer",
]
