"""What the layers of a model cost on this machine, in seconds, at every width."""
