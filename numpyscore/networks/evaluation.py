"""What `evaluate` returns: quantities at some samples, and the pullback of any cotangents of them to the parameters."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..common.inputs import finite, numeric
from .directions import Probes
from .sweep import Points


@dataclass(frozen=True)
class Evaluation:
    """Energy (n,), score (n, d), trace (n,) and curvature (n,) or (m, n) at x, as far as they were asked for."""

    model: Any  # the network
    x: np.ndarray
    sigma: Any
    v: Any
    energy: np.ndarray | None
    score: np.ndarray | None
    trace: np.ndarray | None
    curvature: np.ndarray | None

    def pullback(self, *, energy_bar=None, score_bar=None, trace_bar=None, curvature_bar=None):
        """Flat gradient in theta of any function with these cotangents of energy, score, trace and curvature.

        Parameters
        ----------
        energy_bar, trace_bar : (n,) arrays or scalars, optional
        score_bar : (n, d) array, optional
        curvature_bar : (n,) or (m, n) array or scalar, optional
            Needs `curvature=` in `evaluate`, which says along which directions.

        Returns
        -------
        gradient : (p,) array, order of theta

        Raises
        ------
        ValueError
            If a cotangent has another shape than its quantity, or trace and curvature are both pulled back.
        """
        given = {"energy": energy_bar, "score": score_bar, "trace": trace_bar, "curvature": curvature_bar}
        bars = {name: self._cotangent(name, bar) for name, bar in given.items() if bar is not None}
        if "trace" in bars and "curvature" in bars:
            raise ValueError("pullback: trace_bar and curvature_bar in one call; add the results of two calls.")
        each = None if curvature_bar is None else np.atleast_2d(bars.pop("curvature"))  # (m, n)

        def local(at, _):
            here = {name: bar[at] for name, bar in bars.items()}
            return 0, here if each is None else here | {"curvature": lambda chunk, _: each[chunk, at]}

        sees = tuple(name for name in ("energy", "score") if name in bars)
        asked: dict[str, Any] = {"trace": "trace" in bars, "local": local, "sees": sees, "gradient": True}
        if each is not None:
            asked |= {"directions": Probes.given(self.v if self.v.ndim == 3 else self.v[None]), "total": False}
        return self.model.sweep(Points(self.x, self.sigma), where="pullback", **asked).gradient

    def _cotangent(self, name, bar):
        n, d = self.x.shape
        if name == "energy":
            self.model._energy_exists("pullback")
        if name == "curvature" and self.v is None:
            raise ValueError("pullback: curvature_bar needs evaluate(..., curvature=v), the directions it belongs to.")
        shape = {"energy": (n,), "score": (n, d), "trace": (n,)}.get(name) or self.v.shape[:-1]
        a = numeric("pullback", f"{name}_bar", bar)
        if a.ndim and a.shape != shape:
            raise ValueError(
                f"pullback: {name}_bar has shape {a.shape}, expected {shape}, the shape of {name}, or one number."
            )
        others = [q for q in (self.v, self.sigma if np.iscomplexobj(self.sigma) else None) if q is not None]
        dtype = np.result_type(self.model.theta, self.x, *others)
        if a.dtype.kind == "c" and dtype.kind != "c":
            raise TypeError(f"pullback: {name}_bar is complex and the network real; expected real cotangents.")
        finite("pullback", f"{name}_bar", a)
        return np.broadcast_to(a.astype(dtype, copy=False), shape)  # an unsigned -1 would be 255
