"""Real and synthetic data sets, and tables of one's own."""
