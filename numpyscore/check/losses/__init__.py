"""`check_loss`: a loss is heard, identified as a function of what its model answers, and read.

- observe: `observe` calls the loss with a probe for a model, `hearing` writes down what it draws, `trials` finds c, sigma and eps of its points;
- identify: `identify` has the probes and solves for A, b and C, `levels` asks a batch of many rows;
- read: `plain` and `noise` name losses at the data and at noisy points, `perturbation` what is done to the data, `denoising` what fn is pulled to,
  `patterns` what else stands in a loss, and what no arrays explain; `names` makes sentences of coefficients;
- `loss` puts them together, and has the questions for every loss.
"""

from .loss import check_loss

__all__ = ["check_loss"]
