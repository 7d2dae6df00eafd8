"""Inference: compile a network into a plan, run the plan, read the report."""

from espalier.inference.gpu import GpuPlan, GpuResult
from espalier.inference.options import FILTERS, STRATEGIES
from espalier.inference.plan import Plan, compile, infer
from espalier.inference.result import Report, Result, Shortcut
from espalier.inference.strategies.cpu import StrategyPlan, compile_strategy
from espalier.inference.strategies.gpu import GpuStrategyPlan

__all__ = [
    "FILTERS",
    "STRATEGIES",
    "GpuPlan",
    "GpuResult",
    "GpuStrategyPlan",
    "Plan",
    "Report",
    "Result",
    "Shortcut",
    "StrategyPlan",
    "compile",
    "compile_strategy",
    "infer",
]
