"""`fit` and what it is made of: settings, splits, optimisers, checkpoints, summary, units."""
