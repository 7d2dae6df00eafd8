"""Files of compacted models."""
