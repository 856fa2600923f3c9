"""DataFrames of any library, importing none: whatever has columns and can be made an array, with its names kept."""

import numpy as np

from .csv import Table


def is_frame(data):
    """Whether `data` is a DataFrame: of pandas, polars or anything with columns and to_numpy()."""
    return hasattr(data, "columns") and callable(getattr(data, "to_numpy", None))


def table_of(where, data, columns=None):
    """The Table of a DataFrame, its names kept.

    Parameters
    ----------
    where : str
        Who asks, for error messages.
    data : DataFrame
    columns : names, optional
        Those to take, in this order, whatever the order in `data`; None takes all.

    Raises
    ------
    ValueError
        If a column is missing, comes twice, holds text or dates, or has missing or infinite entries; each with the cure.
    """
    names = [str(name) for name in data.columns]
    given = dict(zip(names, data.columns, strict=True))
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{where}: the columns {', '.join(twice)} come twice, expected a name for each; rename them.")
    wanted = names if columns is None else list(columns)
    lacking = [name for name in wanted if name not in given]
    if lacking:
        raise ValueError(
            f"{where}: the DataFrame has no column {', '.join(lacking)}, expected {', '.join(wanted)}; it has {', '.join(names)}."
        )
    found = {name: _numbers(data[given[name]]) for name in wanted}
    text = [name for name, a in found.items() if a is None]
    if text:
        rest = [name for name in wanted if name not in text]
        raise ValueError(
            f"{where}: columns that hold no numbers: {', '.join(text)}. Choose the others, data[{rest}], or make them numbers."
        )
    gaps = {name: int((~np.isfinite(a)).sum()) for name, a in found.items() if not np.isfinite(a).all()}
    if gaps:
        what = ", ".join(f"{name} ({count})" for name, count in gaps.items())
        raise ValueError(
            f"{where}: missing or infinite entries in columns {what}, expected finite numbers; remove those rows, for example "
            f"data.dropna(), or complete them."
        )
    x = np.column_stack([*found.values()]) if found else np.empty((len(data), 0))
    return Table(x, tuple(wanted), len(x))


def _numbers(column):
    """A column as float64 (n,), NaN where an entry is missing; None if it is text, dates or the like."""
    a = np.asarray(column)
    if a.dtype.kind == "O":  # nullable columns, or text
        entries = [np.nan if value is None or str(value) in ("<NA>", "nan") else value for value in a]
        if any(isinstance(value, str | bytes) for value in entries):
            return None
        try:
            a = np.array(entries, float)
        except (TypeError, ValueError):
            return None
    return a.astype(float) if a.dtype.kind in "biuf" else None
