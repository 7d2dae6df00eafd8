"""`python -m benchmarks challenge | sparsetrain | fssl | partition`."""

from benchmarks.command import app

app(prog_name="python -m benchmarks")
