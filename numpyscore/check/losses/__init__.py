"""Somebody's loss: heard, identified, read."""

from .loss import check_loss

__all__ = ["check_loss"]
