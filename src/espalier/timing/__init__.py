"""Time work in turns, and keep what was measured for this machine."""
