"""A page with sliders in one file: the wall, noise and flow on somebody's data, two forces on theta, Langevin's step. No network, no library."""

import json
from html import escape
from pathlib import Path

import numpy as np

from ..common.inputs import samples
from ..data.datasets import old_faithful, standardise

TEMPLATE = Path(__file__).with_name("explore.html")
WIDTH = 0.12  # of the Gaussian on every row, in standard deviations: small enough for the data to be seen
ROWS = 1000  # of a longer table, drawn at random: the page stays small and quick


def explore(data=None, name="Old Faithful", *, seed=0):
    """The page, as HTML.

    Parameters
    ----------
    data : (n, 2) array, optional
        Rows for the second panel, standardised there; by default Old Faithful's eruptions and waiting times.
    name : str
        What they are called on the page.
    seed : int
        Which ROWS rows of a longer table.

    Returns
    -------
    str
        A whole HTML document of at most 80 kB; the same data give the same bytes.

    Raises
    ------
    ValueError
        If data has not two columns, fewer than 2 rows, or a column that is constant.
    """
    x = old_faithful() if data is None else samples("explore", data, name="data", dtype=float)
    if x.shape[1] != 2 or len(x) < 2:
        raise ValueError(
            f"explore: data has shape {x.shape}, expected (n, 2) with n >= 2, a plane to draw the field in; choose two columns."
        )
    x, _, _, constant = standardise(x)
    if constant:
        raise ValueError(
            "explore: a column is constant, expected two that vary; a density on a line has no field in the plane."
        )
    if len(x) > ROWS:
        x = x[np.sort(np.random.default_rng(seed).choice(len(x), ROWS, replace=False))]
        name += f" ({ROWS} rows of it)"
    rows = json.dumps(np.round(x, 5).tolist(), separators=(",", ":"))
    page = TEMPLATE.read_text(encoding="utf-8")
    return page.replace("__WHOSE__", escape(name)).replace("__WIDTH__", repr(WIDTH)).replace("__DATA__", rows)
