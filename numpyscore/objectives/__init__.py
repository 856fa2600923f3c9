"""Losses that fit a score, one file a family; the same losses for arrays from elsewhere."""
