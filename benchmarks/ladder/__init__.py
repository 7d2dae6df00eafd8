"""Versions of each kernel family: checked, then timed against this machine's ceilings."""
