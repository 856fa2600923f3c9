"""How far a result is from the truth, in units of eps and of S (the same formula of absolute values), and the limits."""

import numpy as np

SMOOTH = ("tanh", "softplus", "silu", "sigmoid", "sin", "gelu", "erf")
EPS = np.finfo(float).eps
# In eps S2, the scale that counts what the rounding of z does to a jet: 600 networks read 3.3 at most.
BOUND = 8
# In eps S, for tests of single networks. S does not see terms cancel inside z: the same 600 read 5, 30, 53, 15 and 57 at most,
# but for one of two erf units, where z is 1/94 of its terms: its score is off by 42 eps S, which is 2 eps S2.
LIMITS = {"energy": 32, "score": 32, "jacobian": 128, "trace": 128, "gradient": 256}


def scaled(got, exact, S):
    """|computed - exact| / (eps S), the worst entry; an entry whose every term is 0 must be 0."""
    off = np.abs(got - exact)
    return float(np.max(np.where(S > 0, off / (EPS * np.where(S > 0, S, 1)), np.where(off > 0, np.inf, 0)), initial=0))
