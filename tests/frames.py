"""A DataFrame for tests, without pandas."""

import numpy as np


class Frame:
    """As much of a DataFrame as pandas and polars have in common."""

    def __init__(self, **columns):
        self.entries = {name: np.asarray(column) for name, column in columns.items()}

    @property
    def columns(self):
        return [*self.entries]

    def __getitem__(self, name):
        return self.entries[name]

    def to_numpy(self):
        return np.column_stack([*self.entries.values()])
