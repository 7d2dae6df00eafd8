"""Which parameters of a model can only go together."""
