"""A user's own code against the reference, with a diagnosis: is my score-matching code right, and if not, what is wrong with it?"""

from .density import check_density
from .functions import check_rows
from .gradient import check_gradient
from .losses import check_loss
from .report import CheckReport
from .reverse import check_reverse
from .sampler import check_sampler
from .score import check_conservative, check_score
from .trace import check_trace

__all__ = [
    "CheckReport",
    "check_conservative",
    "check_density",
    "check_gradient",
    "check_loss",
    "check_reverse",
    "check_rows",
    "check_sampler",
    "check_score",
    "check_trace",
]
