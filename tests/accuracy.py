"""How far a result is from the truth, in units of eps and of S (the same formula of absolute values), and the limits."""

import numpy as np

SMOOTH = ("tanh", "softplus", "silu", "sigmoid", "sin", "gelu", "erf")
EPS = np.finfo(float).eps
LIMITS = {"energy": 32, "score": 32, "jacobian": 128, "trace": 128, "gradient": 256}  # in eps * S


def scaled(got, exact, S):
    """|computed - exact| / (eps S), the worst entry; an entry whose every term is 0 must be 0."""
    off = np.abs(got - exact)
    return float(np.max(np.where(S > 0, off / (EPS * np.where(S > 0, S, 1)), np.where(off > 0, np.inf, 0)), initial=0))
