"""Inference: compile a network into a plan, run the plan, read the report."""

from espalier.inference.plan import Plan, compile
from espalier.inference.result import Report, Result, Shortcut

__all__ = ["Plan", "Report", "Result", "Shortcut", "compile"]
