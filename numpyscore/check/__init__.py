"""A user's own code against the reference, with a diagnosis: is my score-matching code right, and if not, what is wrong with it?"""

from .loss import check_loss
from .report import CheckReport
from .score import check_conservative, check_rows, check_score

__all__ = ["CheckReport", "check_conservative", "check_loss", "check_rows", "check_score"]
