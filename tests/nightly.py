"""Of the cases of a parametrised test those that run by default; the others run under `-m nightly` with the same code."""

import pytest


def mostly(cases, *kept):
    """All cases, those kept as they are and the rest marked nightly.

    >>> @pytest.mark.parametrize("name", mostly(WRONG, "sign", "scale"))
    """
    assert set(kept) <= set(cases), set(kept) - set(cases)
    return [case if case in kept else pytest.param(case, marks=pytest.mark.nightly) for case in cases]
