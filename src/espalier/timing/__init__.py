"""Time works in interleaved rounds, and keep what was measured for this machine."""
