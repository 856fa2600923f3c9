"""Chapter 5: the trace, and its gradient by hand."""

import numpy as np

from .exercise import Exercise, Lesson, points

GIVEN = """import numpy as np

W = np.random.default_rng(1).normal(size=(3, 4))  # (d, width)
b = np.random.default_rng(2).normal(size=4)
w = np.random.default_rng(3).normal(size=4)


def energy(x):  # f(x) = tanh(x W + b) w: every exercise of this lesson is about it
    return np.tanh(x @ W + b) @ w"""

_T = "t = np.tanh(x @ W + b)\n"
_J = _T + 'J = np.einsum("nk,ik,jk->nij", 2 * w * t * (1 - t**2), W, W)\n'
_GB = _T + "Q = np.sum(W**2, axis=0)\nd3 = (1 - t**2) * (6 * t**2 - 2)\n"


def _trace_check(theirs):
    """check_trace against the network's own score."""
    import numpyscore as ns

    W, b, w = (np.random.default_rng(k).normal(size=s) for k, s in ((1, (3, 4)), (2, 4), (3, 4)))
    score = lambda x: -(w * (1 - np.tanh(x @ W + b) ** 2)) @ W.T
    return ns.check_trace(theirs, score=score, x=points(np.random.default_rng(0)))


BY_HAND = 1e-12  # a central difference of float64 comes to 1e-11


def _probes(rng):
    return rng.normal(size=(6, 3, 3)), rng.normal(size=(5, 6, 3))


LESSON = Lesson(
    number=5,
    title="The trace",
    minutes=10,
    claim="tr ds/dx costs no d backward passes: for one hidden layer it is one line, and its gradient two.",
    equation=r"\mathrm{tr}\,\partial_x s = -\sum_k w_k\, \phi''(z_k) \sum_i W_{ik}^2, \qquad z = x W + b",
    given=GIVEN,
    exercises=(
        Exercise(
            name="tanh_second",
            rtol=BY_HAND,
            ask="The second derivative of tanh.",
            call="z",
            gives="z (n,) -> (n,)",
            inputs=lambda rng: (rng.normal(size=7) + 0.3,),
            solution="t = np.tanh(z)\nreturn -2 * t * (1 - t**2)",
            terms={
                "t (1 - t^2)": "np.tanh(z) * (1 - np.tanh(z) ** 2)",
                "1 - t^2": "1 - np.tanh(z) ** 2",
                "t": "np.tanh(z)",
            },
            forms=("-2 * np.tanh(z) / np.cosh(z) ** 2",),
            wrong={
                "(1 - np.tanh(z) ** 2) ** 2": "This is tanh' squared; the second derivative differentiates 1 - t^2 once more, by the chain rule.",
                "1 - np.tanh(z) ** 2": "This is the first derivative; differentiate once more.",
                "2 * np.tanh(z) * (1 - np.tanh(z) ** 2)": "The sign: 1 - t^2 falls as t rises, -2 t t'.",
                "-np.tanh(z) * (1 - np.tanh(z) ** 2)": "The 2 from t^2 is missing.",
                "-2 * np.tanh(z)": "The inner derivative is missing: -2 t times t' = 1 - t^2.",
                "-2 * np.tanh(z) * (1 - np.tanh(z))": "1 - t^2, not 1 - t.",
                "(1 - np.tanh(z) ** 2) * (6 * np.tanh(z) ** 2 - 2)": "This is the third derivative.",
                "-2 * (1 - np.tanh(z) ** 2)": "The t is missing: -2 t t'.",
                "np.tanh(z) * (1 - np.tanh(z))": "This is the sigmoid's rule, s (1 - s), put to tanh.",
            },
            step="curvature identity",
        ),
        Exercise(
            name="net_score",
            rtol=BY_HAND,
            ask="The score of exp(-f): by hand, one layer back.",
            call="x",
            gives="x (n, 3) -> (n, 3)",
            inputs=lambda rng: (points(rng),),
            solution=_T + "return -(w * (1 - t**2)) @ W.T",
            wrong={
                _T + "return (w * (1 - t**2)) @ W.T": "This is grad f; the score is minus that.",
                _T + "return -(w * t) @ W.T": "You went back through tanh without its derivative 1 - t^2.",
                _T + "return -(1 - t**2) @ W.T": "The output weights w are missing.",
                "z = x @ W + b\nreturn -(w * (1 - z**2)) @ W.T": "1 - z^2: the derivative is 1 - tanh(z)^2.",
                "t = np.tanh(x @ W)\nreturn -(w * (1 - t**2)) @ W.T": "The bias b is missing in z = x W + b.",
                _T + "return -(w * (1 - t)) @ W.T": "1 - t^2, not 1 - t.",
                _T
                + "return -np.sum((w * (1 - t**2)) @ W.T, axis=1)": "This is summed over dimensions; the score is a vector.",
                _T + "return -t @ w": "This is minus the energy, not its gradient.",
                _T
                + "return -(w * (1 - t**2)) @ W.T / len(x)": "You divided by n: each sample has its own score. (A backward pass through a mean does that.)",
                _T + "return -(w * -2 * t * (1 - t**2)) @ W.T": "You took tanh'' where tanh' belongs.",
            },
            step="score of a network",
        ),
        Exercise(
            name="trace_of",
            ask="The trace of a Jacobian for each sample.",
            call="J",
            gives="J (n, d, d) -> (n,)",
            inputs=lambda rng: (rng.normal(size=(3, 3, 3)),),
            solution="np.trace(J, axis1=1, axis2=2)",
            wrong={
                "np.linalg.norm(J, axis=(1, 2))": "This is the Frobenius norm, the root of the sum of all squares; a trace is the sum of the diagonal, with its signs.",
                "np.prod(np.diagonal(J, axis1=1, axis2=2), axis=1)": "This is the product of the diagonal; a trace is its sum.",
                "np.sum(J * J, axis=(1, 2))": "This is the trace of J^T J, the sum of all squares; the trace of J itself was asked.",
                "np.trace(J[:, ::-1], axis1=1, axis2=2)": "This is the other diagonal, from below left to above right.",
                "np.sum(J, axis=(1, 2))": "This is the sum of all d^2 entries: what differentiating s.sum() gives. Only the diagonal counts.",
                "np.trace(J)": "np.trace takes the first two axes, samples and outputs. Say axis1=1, axis2=2.",
                "np.mean(np.diagonal(J, axis1=1, axis2=2), axis=1)": "A mean over dimensions; a trace is a sum.",
                "np.linalg.det(J)": "This is the determinant, the product of the eigenvalues; the trace is their sum.",
                "J[:, 0, 0]": "This is one diagonal entry; sum over all d.",
                "np.sum(np.diagonal(J, axis1=1, axis2=2) ** 2, axis=1)": "The diagonal is squared here; a trace is a plain sum.",
                "np.mean(np.trace(J, axis1=1, axis2=2))": "One number came back, the mean over samples: give one for each.",
                "np.sum(np.abs(np.diagonal(J, axis1=1, axis2=2)), axis=1)": "No absolute values: a trace may cancel, and be negative.",
            },
            step="the trace sums the diagonal",
        ),
        Exercise(
            name="net_trace",
            rtol=BY_HAND,
            ask="tr ds/dx of that network, without a loop over dimensions.",
            call="x",
            gives="x (n, 3) -> (n,)",
            inputs=lambda rng: (points(rng),),
            solution=_T + "return (2 * w * t * (1 - t**2)) @ np.sum(W**2, axis=0)",
            wrong={
                _T
                + "return np.sum(2 * t * (1 - t**2) * w, axis=1)": "W is missing: each unit bends by tanh'' times the square of how z moves, sum_i W_ik^2.",
                _T
                + "return np.sum(-2 * t * (1 - t**2) * w, axis=1)": "W is missing, sum_i W_ik^2 of each unit, and the sign: s = -grad f.",
                _T
                + "return -(2 * w * t * (1 - t**2)) @ np.sum(W**2, axis=0)": "The sign: s = -grad f, so the trace is minus the Laplacian of f.",
                _J
                + "return J.sum(axis=(1, 2))": "This is the sum of all d^2 entries of the Jacobian: the classic slip of differentiating s.sum(), or of (sum_i W_ik)^2. Only the diagonal counts: sum_i W_ik^2.",
                _J + "return J[:, 0, 0]": "This is one diagonal entry; sum over all d.",
                _T
                + "return (2 * w * t * (1 - t**2)) @ np.mean(W**2, axis=0)": "A mean over dimensions; a trace is a sum.",
                _T
                + "return (w * t * (1 - t**2)) @ np.sum(W**2, axis=0)": "tanh'' is -2 t (1 - t^2): the 2 is missing.",
                _T + "return -(w * (1 - t**2)) @ np.sum(W**2, axis=0)": "You took tanh' where tanh'' belongs.",
                _T
                + "return (2 * w * t * (1 - t**2)) @ np.sum(W, axis=0)": "W enters twice, once for each derivative: sum_i W_ik^2, not sum_i W_ik.",
                _T + "return (2 * t * (1 - t**2)) @ np.sum(W**2, axis=0)": "The output weights w are missing.",
                _T
                + "return np.mean((2 * w * t * (1 - t**2)) @ np.sum(W**2, axis=0))": "One number came back, the mean over samples: give one for each row.",
                _T
                + "return (2 * w**2 * t * (1 - t**2)) @ np.sum(W**2, axis=0)": "w enters once: the energy is linear in it.",
                "t = np.tanh(x @ W)\nreturn (2 * w * t * (1 - t**2)) @ np.sum(W**2, axis=0)": "The bias b is missing in z = x W + b.",
                "return 0 * x[:, 0]": "The trace is not 0: tanh bends. (A ReLU network's would be, almost everywhere, and silently so.)",
            },
            check=_trace_check,
            step="curvature identity",
            figure="trace_cost",
        ),
        Exercise(
            name="along",
            ask="v . J v for one direction v for each sample, J the Jacobian of the score: one tangent through the network.",
            call="x, v",
            gives="x (n, 3), v (n, 3) -> (n,)",
            inputs=lambda rng: (points(rng), rng.normal(size=(7, 3))),
            solution=_T + "T = v @ W\nreturn np.sum(2 * w * t * (1 - t**2) * T**2, axis=1)",
            wrong={
                _T
                + "T = v @ W\nreturn -np.sum(2 * w * t * (1 - t**2) * T**2, axis=1)": "The sign: this is v . (Hess f) v, and s = -grad f.",
                _T
                + "T = v @ W\nreturn np.sum(2 * w * t * (1 - t**2) * T, axis=1)": "The tangent enters squared: v stands on both sides of J.",
                _T
                + "return (2 * w * t * (1 - t**2) * (v**2 @ W**2)).sum(axis=1)": "You squared before summing: this drops the mixed terms v_i v_j. T = v W first, then its square.",
                _T + "T = v @ W\nreturn -np.sum(w * (1 - t**2) * T**2, axis=1)": "You took tanh' where tanh'' belongs.",
                _T
                + "T = v @ W\nreturn np.sum(w * t * (1 - t**2) * T**2, axis=1)": "tanh'' is -2 t (1 - t^2): the 2 is missing.",
                _T
                + "T = v @ W + b\nreturn np.sum(2 * w * t * (1 - t**2) * T**2, axis=1)": "The bias does not move with x: a tangent is v W, without b.",
                _T
                + "T = v @ W\nreturn np.sum(2 * w * t * (1 - t**2) * T**2, axis=1) / np.sum(v**2, axis=1)": "You divided by |v|^2. v . J v as it stands was asked.",
                _T
                + "T = v @ W\nreturn -np.sum(w * (1 - t**2) * T, axis=1)": "This is v . s, the first derivative along v.",
            },
            step="curvature identity",
        ),
        Exercise(
            name="hutchinson",
            ask="Hutchinson's estimate of the trace for each sample, from m probes for each: the mean of v . J v.",
            call="J, V",
            gives="J (n, d, d), V (m, n, d) with E[v v^T] = I -> (n,)",
            inputs=_probes,
            solution='np.mean(np.einsum("mni,nij,mnj->mn", V, J, V), axis=0)',
            wrong={
                'np.sum(np.einsum("mni,nij,mnj->mn", V, J, V), axis=0)': "A sum over probes; their mean estimates the trace. The sum is m times too large.",
                'np.mean(np.einsum("mni,nij,mnj->mn", V, J, V) / np.sum(V**2, axis=2), axis=0)': "You made the probes unit vectors: then E[v v^T] = I/d, and the estimate is d times too small.",
                'np.mean(np.einsum("mni,nij,mnj->mn", V, J, V))': "One number came back, the mean over samples too: give one for each.",
                'np.mean(np.einsum("mi,nij,mj->mn", V[:, 0], J, V[:, 0]), axis=0)': "One probe is shared by the whole batch: unbiased, but the errors of all samples add up instead of averaging out.",
                'np.einsum("ni,nij,nj->n", V[0], J, V[0])': "You used the first probe alone; take the mean over all m.",
                'np.mean(np.einsum("mni,nii,mni->mn", V, J, V), axis=0)': "You took only the diagonal, v_i^2 J_ii. If J_ii is at hand, sum it and be done; the point of probes is that it is not.",
                'np.mean(np.einsum("mni,nij->mnj", V, J), axis=(0, 2))': "This is v^T J averaged: the second v is missing.",
                'np.mean(np.einsum("mni,nij,mnj->mn", V, J, V), axis=0) / J.shape[1]': "You divided by d; with E[v v^T] = I there is nothing to divide by.",
                'np.einsum("ni,nij,nj->n", np.mean(V, axis=0), J, np.mean(V, axis=0))': "You averaged the probes first. The square of a mean is not the mean of squares: this shrinks like 1/m.",
            },
            step="Hutchinson's mean",
        ),
        Exercise(
            name="unit_probe_mean",
            ask="Probes drawn as unit vectors, uniform on the sphere |v| = 1 in d dimensions. What is E[v . J v] over the trace?",
            call="d",
            gives="d a whole number -> a number",
            inputs=lambda rng: (int(rng.integers(3, 12)),),
            solution="1 / d",
            wrong={
                "1.0": "|v|^2 = 1 is shared by d coordinates: E[v_i^2] = 1/d, not 1.",
                "d": "The other way round: unit probes make the estimate smaller.",
                "1 / np.sqrt(d)": "v enters twice: (1/sqrt d)^2.",
                "1 / d**2": "v enters twice, each of size 1/sqrt d.",
                "np.sqrt(d)": "This is the radius that would repair it.",
                "0.0": "E[v] = 0, but v enters squared.",
                "1 / (d + 2)": "This belongs to the variance, E[v_i^4] = 3/(d (d + 2)); the mean needs E[v_i^2].",
            },
            step="probes of another size",
        ),
        Exercise(
            name="rademacher_variance",
            ask="The variance of v . A v for one probe of independent signs +-1, A symmetric.",
            call="A",
            gives="A (d, d) -> a number",
            inputs=lambda rng: ((lambda B: B + B.T)(rng.normal(size=(4, 4))),),
            solution="2 * (np.sum(A**2) - np.sum(np.diag(A) ** 2))",
            terms={
                "sum of A_ij^2": "np.sum(A**2)",
                "sum of A_ii^2": "np.sum(np.diag(A) ** 2)",
                "tr^2": "np.trace(A) ** 2",
            },
            wrong={
                "2 * (np.sum(A) - np.trace(A)) ** 2": "You squared the sum of the entries off the diagonal; sum their squares.",
                "np.var(A)": "This is how the entries of A scatter; asked is how v^T A v does from probe to probe.",
                "2 * np.sum(A**2)": "This is the variance for Gaussian probes. With signs v_i^2 = 1 always, so the diagonal adds no noise.",
                "np.sum(A**2) - np.sum(np.diag(A) ** 2)": "The 2 is missing: the pairs ij and ji move together, and their covariance counts too.",
                "2 * np.sum(np.diag(A) ** 2)": "This is the diagonal's part; signs have v_i^2 = 1, so it is the rest that fluctuates.",
                "0.0": "Only a diagonal A has no noise; the off-diagonal entries come with random signs.",
                "np.trace(A) ** 2": "This is the mean squared.",
                "4 * (np.sum(A**2) - np.sum(np.diag(A) ** 2))": "Counted twice: 4 times the sum over i < j is 2 times the sum over i != j.",
                "np.sqrt(2 * (np.sum(A**2) - np.sum(np.diag(A) ** 2)))": "This is the standard deviation; the variance was asked.",
                "2 * (np.sum(A) - np.trace(A))": "The entries enter squared.",
            },
            step="Hutchinson's variance",
            figure="probe_variance",
        ),
        Exercise(
            name="shared_probe",
            ask="J is the same for all 100 samples of a batch, and one probe's v . J v has variance 1. What variance has the batch's mean if one probe is drawn for the whole batch? A number.",
            solution="1.0",
            wrong={
                "0.01": "This is with a probe for each sample. One probe for all makes the same error 100 times; nothing averages out.",
                "0.1": "This is the standard deviation with a probe for each sample. One probe for all makes the same error 100 times.",
                "100.0": "Equal errors neither average out nor add up in a mean: 100 equal numbers have a mean equal to each.",
                "10.0": "Equal errors neither average out nor add up in a mean.",
                "0.0": "The estimate is unbiased, not exact.",
                "0.5": "100 equal numbers have a mean equal to each of them: its variance too.",
            },
            step="Hutchinson's estimator, sampled",
        ),
        Exercise(
            name="directions",
            ask="An energy network with W_1 of shape (784, 64). How many directions does its exact trace need? A number. (The textbook takes all 784.)",
            solution="64",
            wrong={
                "65": "64 + 1: a bias moves where a unit bends, and adds no direction to bend along.",
                "784 + 64": "Inputs and units do not add up: count the directions along which the energy bends, the columns of W_1.",
                "64**2": "These are the entries of a matrix between units; directions are its columns.",
                "784": "This is the textbook's way. The energy bends only within the 64 columns of W_1.",
                "784 * 64": "This is the number of weights.",
                "1": "One direction is a probe: right on average only.",
                "784**2": "These are the entries of the Jacobian; not even the textbook needs them all.",
                "784 - 64": "Along these the energy does not bend at all: they add nothing to the trace.",
                "28": "784 is 28 x 28, but images play no part in it: count what W_1 lets through.",
            },
            step="rows no more than the width",
            figure="trace_cost",
        ),
        Exercise(
            name="grad_b",
            ask="The gradient of the mean trace in the bias b: one more derivative, tanh''' = (1 - t^2)(6 t^2 - 2).",
            call="x",
            gives="x (n, 3) -> (4,)",
            inputs=lambda rng: (points(rng),),
            solution=_GB + "return np.mean(-w * d3 * Q, axis=0)",
            wrong={
                _GB + "return np.mean(w * d3 * Q, axis=0)": "The sign: the trace is minus sum w phi'' Q.",
                _GB + "return np.sum(-w * d3 * Q, axis=0)": "A sum over samples; the mean trace was asked.",
                _GB
                + "return np.mean(2 * w * t * (1 - t**2) * Q, axis=0)": "This is the trace itself, unit by unit; differentiating in b raises phi'' to phi'''.",
                _GB + "return np.mean(-w * d3, axis=0)": "The weights sum_i W_ik^2 are missing.",
                _GB + "return np.mean(-d3 * Q, axis=0)": "The output weights w are missing.",
                _GB + "return np.mean(-w * (1 - t**2) * Q, axis=0)": "You took tanh' where tanh''' belongs.",
                _GB + "return -w * d3 * Q": "One gradient for each sample, (n, 4); their mean was asked.",
                _GB + "return np.mean(-w * d3 * np.sum(W, axis=0), axis=0)": "sum_i W_ik^2, not sum_i W_ik.",
            },
            step="both losses have the same gradient",
        ),
        Exercise(
            name="grad_W",
            ask="The gradient of the mean trace in W. W enters twice: through z, and through sum_i W_ik^2.",
            call="x",
            gives="x (n, 3) -> (3, 4)",
            inputs=lambda rng: (points(rng),),
            solution=_GB
            + "through_z = x.T @ (-w * d3 * Q) / len(x)\nthrough_Q = 2 * W * np.mean(2 * w * t * (1 - t**2), axis=0)\nreturn through_z + through_Q",
            terms={
                "the part through z": _GB + "return x.T @ (-w * d3 * Q) / len(x)",
                "the part through sum W^2": _GB + "return 2 * W * np.mean(2 * w * t * (1 - t**2), axis=0)",
            },
            wrong={
                _GB
                + "return x.T @ (-w * d3 * Q) / len(x)": "This is the part through z alone; W stands in sum_i W_ik^2 as well.",
                _GB
                + "return 2 * W * np.mean(2 * w * t * (1 - t**2), axis=0)": "This is the part through sum_i W_ik^2 alone; W moves z as well.",
                _GB
                + "return x.T @ (-w * d3 * Q) / len(x) + W * np.mean(2 * w * t * (1 - t**2), axis=0)": "Differentiating W_ik^2 brings down a 2.",
                _GB
                + "return x.T @ (-w * d3 * Q) + 2 * W * np.sum(2 * w * t * (1 - t**2), axis=0)": "A sum over samples; the mean trace was asked.",
                _GB
                + "return x.T @ (w * d3 * Q) / len(x) - 2 * W * np.mean(2 * w * t * (1 - t**2), axis=0)": "The sign: this is the gradient of the Laplacian of f; the trace is minus that.",
                _GB
                + "return x.T @ (-w * d3 * Q) / len(x) - 2 * W * np.mean(2 * w * t * (1 - t**2), axis=0)": "The second part has the wrong sign: phi'' = -2 t (1 - t^2), and the trace has a minus of its own.",
                _GB
                + "return (x.T @ (-w * d3 * Q) / len(x) + 2 * W * np.mean(2 * w * t * (1 - t**2), axis=0)).T": "This is transposed: W is (in, out), here (3, 4).",
                _GB
                + "return x.T @ (-w * d3 * Q) + 2 * W * np.mean(2 * w * t * (1 - t**2), axis=0)": "The first part is a sum over samples, the second a mean: divide x.T @ ... by n.",
            },
            step="both losses have the same gradient",
        ),
        Exercise(
            name="textbook_trace",
            ask="The same trace by numpyscore.textbook, which has every pass as an equation: `tb.energy_network(net, x, directions)` gives a point with .f, .s and .c, c (m, n, 1) the curvatures v.J v along m directions; `tb.along(net, tb.basis(x))` are the d basis vectors.",
            call="x",
            gives="x (n, 3) -> (n,)",
            given="import numpyscore.textbook as tb\n\nnet = tb.Network.of([(W, b), (w[:, None], np.zeros(1))], tb.tanh)",
            inputs=lambda rng: (points(rng),),
            solution="tb.energy_network(net, x, tb.along(net, tb.basis(x))).c.sum(0)[:, 0]",
            forms=("tb.energy_network(net, x, tb.collapsed(net, x)).c.sum(0)[:, 0]",),
            wrong={
                "tb.energy_network(net, x, tb.along(net, tb.basis(x))).c.mean(0)[:, 0]": "This is the mean over the d basis vectors; the trace is their sum.",
                "-tb.energy_network(net, x, tb.along(net, tb.basis(x))).c.sum(0)[:, 0]": "The sign: .c is v.J v of the score already, minus that of the energy.",
                "tb.energy_network(net, x, tb.along(net, tb.basis(x))).c[0][:, 0]": "This is the curvature along e_1 alone; sum over the directions.",
                "tb.energy_network(net, x, tb.along(net, tb.basis(x)), 1.0).c.sum(0)[:, 0]": "lam = 1 adds a confinement, and -d to the trace; this network has none.",
                "tb.energy_network(net, x, tb.along(net, tb.basis(x))).s.sum(1)": "This is the sum of the score's entries; the curvatures are in .c.",
                "tb.energy_network(net, x, tb.along(net, np.ones((1, *x.shape)))).c.sum(0)[:, 0]": "Along (1, ..., 1) you get the sum of all d^2 entries of J; the trace needs each basis vector.",
            },
            step="the trace sums the diagonal",
            figure="four_passes",
        ),
        Exercise(
            name="half_sliced",
            ask="Unit probes, |v| = 1, in d dimensions and the loss E[v . J v] + 1/2 |s|^2: the trace sliced, the square not. Model s = -theta x, data of variance 1 in each dimension. Which theta is the best one now? (Right would be 1.)",
            call="d",
            gives="d a whole number -> a number",
            inputs=lambda rng: (int(rng.integers(3, 9)),),
            solution="1 / d",
            wrong={
                "1": "v . J v = -theta |v|^2 = -theta, while 1/2 E|s|^2 = d theta^2/2: the trace has lost its d, the square has not.",
                "d": "Turned round: -theta + d theta^2/2 is least at 1/d.",
                "1 / d**2": "|v|^2 = 1, so the trace is divided by d once: least at 1/d.",
                "1 / np.sqrt(d)": "Probes are of length 1, but v stands twice in v . J v: the trace is divided by d, not by its root.",
                "2 / d": "The derivative is -1 + d theta: the 2 of the square undoes the 1/2.",
                "1 / (2 * d)": "The 1/2 is undone by the derivative of theta^2.",
            },
            step="one term sliced, the other not",
        ),
    ),
    counterexample=(
        "A ReLU energy: its trace is 0 wherever it can be differentiated, the loss no longer sees any curvature, and nothing warns. All of it sits in the kinks.",
        """x = np.random.default_rng(0).normal(size=(100_000, 3))
z = x @ W + b
s, trace = -(w * (z > 0)) @ W.T, np.zeros(len(x))  # what differentiating twice gives
print("implicit loss as computed", np.mean(0.5 * np.sum(s**2, axis=1) + trace))
size = np.sqrt(np.sum(W**2, axis=0))  # z_k is N(b_k, size_k^2) on these data
density_at_0 = np.exp(-((b / size) ** 2) / 2) / np.sqrt(2 * np.pi) / size
print("the mean trace that is missing", -np.sum(w * size**2 * density_at_0))""",
    ),
)
