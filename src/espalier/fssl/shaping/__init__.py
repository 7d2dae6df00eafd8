"""Who goes while a model trains: the optimiser, its budgets and its schedule."""
