"""`fit` on real tables, warts and all, beside a Gaussian, a kernel density and a mixture: one line a table.

The tables are those inside scikit-learn, statsmodels, vega-datasets and palmerpenguins, read from the packages' own files: what is
not installed is left out, and no data are kept here. By itself this prints the table of results,

    python tests/learning/real_tables.py [NAME ...]

with the held-out log-likelihood in nats a row in the units of the columns, its paired difference from the best of the three and
the standard error of that, the energy distance of samples from rows tested (its share of the rows' own mean distance, and p), and the
CPU time.
"""

import json
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from numpyscore import fit, from_csv, old_faithful

WITHIN = 0.1  # nats a row, below the best baseline, that count as level with it
FEW, DISTINCT = 12, 0.1  # distinct values, and their share of the rows, beyond which a column counts as continuous


class Source(NamedTuple):
    """Where a table is: package, file within it, the columns taken, how it is read."""

    package: str
    file: str
    columns: tuple
    read: str = "csv"

    @property
    def path(self):
        """The file, None if the package is not installed."""
        spec = find_spec(self.package)
        return None if spec is None else Path(spec.submodule_search_locations[0]) / self.file

    def table(self):
        """The rows without missing cells, (n, d)."""
        if self.read == "csv":
            return from_csv(self.path, columns=list(self.columns), header=True, drop_missing=True).x
        if self.read == "json":
            records = json.loads(self.path.read_text())
            rows = [[record[name] for name in self.columns] for record in records]
            return np.array([row for row in rows if None not in row], float)
        # scikit-learn: a first line of counts and names, then numbers, the class last
        return np.loadtxt(self.path, delimiter=",", skiprows=1)[:, list(self.columns)]


def _statsmodels(name, columns):
    return Source("statsmodels", f"datasets/{name}/{name}.csv", tuple(columns.split()))


def _vega(file, columns):
    return Source("vega_datasets", f"_data/{file}", tuple(columns.split()), "json" if file.endswith("json") else "csv")


def _sklearn(file, columns):
    return Source("sklearn", f"datasets/data/{file}", tuple(columns), "numbers")


SOURCES = {
    "iris": _sklearn("iris.csv", range(4)),
    "wine": _sklearn("wine_data.csv", range(13)),
    "breast": _sklearn("breast_cancer.csv", range(10)),
    "penguins": Source(
        "palmerpenguins",
        "data/penguins.csv",
        ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"),
    ),
    "engel": _statsmodels("engel", "income foodexp"),
    "elnino": _statsmodels("elnino", "JAN APR JUL"),
    "sunspots": _statsmodels("sunspots", "YEAR SUNACTIVITY"),
    "macrodata": _statsmodels("macrodata", "cpi unemp tbilrate infl realint"),
    "ccard": _statsmodels("ccard", "AVGEXP AGE INCOME"),
    "copper": _statsmodels("copper", "WORLDCONSUMPTION COPPERPRICE ALUMPRICE INVENTORYINDEX"),
    "statecrime": _statsmodels("statecrime", "violent murder hs_grad poverty single white urban"),
    "grunfeld": _statsmodels("grunfeld", "invest value capital"),
    "nile": _statsmodels("nile", "year volume"),
    "scotland": Source(
        "statsmodels", "datasets/scotland/scotvote.csv", ("YES", "COUTAX", "UNEMPF", "MOR", "ACT", "GDP", "AGE")
    ),
    "star98": _statsmodels("star98", "MATHTOT PR50M LOWINC PERASIAN PERBLACK PERHISP"),
    "airports": _vega("airports.csv", "longitude latitude"),
    "riots": _vega("la-riots.csv", "longitude latitude"),
    "cars": _vega("cars.json", "Miles_per_Gallon Displacement Horsepower Weight_in_lbs Acceleration"),
    "driving": _vega("driving.json", "miles gas"),
    "employment": _vega("us-employment.csv", "private goods_producing service_providing private_service_providing"),
    "prices": _vega("ohlc.json", "open high low close ret"),
    "weather": _vega("seattle-weather.csv", "precipitation temp_max temp_min wind"),
    "heart": _statsmodels("heart", "survival censors age"),
    "strikes": _statsmodels("strikes", "duration iprod"),
    "modechoice": _statsmodels("modechoice", "ttme invc invt gc hinc"),
    "fair": _statsmodels(
        "fair", "rate_marriage age yrs_married children religious educ occupation occupation_husb affairs"
    ),
    "anes96": Source("statsmodels", "datasets/anes96/anes96.csv", (0, 1, 2, 3, 4)),  # its names are quoted twice
}


def tables(names=()):
    """name -> rows (n, d) of those whose package is installed, Old Faithful first; of these names, if any."""
    found = {"faithful": old_faithful()}
    found |= {name: source.table() for name, source in SOURCES.items() if source.path is not None}
    return {name: table for name, table in found.items() if not names or name in names}


def continuous(x):
    """Whether rows x (n, d) may have a density: each column takes many values, and none is a linear function of the others."""
    distinct = np.array([len(np.unique(column)) for column in x.T])
    z = (x - x.mean(axis=0)) / x.std(axis=0).clip(1e-300)
    return bool((distinct > max(FEW, DISTINCT * len(x))).all() and np.linalg.eigvalsh(z.T @ z / len(z))[0] > 1e-9)


class Result(NamedTuple):
    """What a fit of one table is worth; log-likelihoods in nats a row."""

    name: str
    shape: tuple
    continuous: bool
    gaussian: float
    kernel_density: float
    mixture: float
    network: float
    difference: float
    error: float
    share: float
    p: float
    seconds: float
    notes: int

    @property
    def level(self):
        """Whether it is no more than WITHIN below the best baseline."""
        return self.difference >= -WITHIN


def measured(name, x, **options):
    """The Result of a default fit of rows x (n, d)."""
    start = time.process_time()
    summary = fit(x, **options).summary
    seconds, found, samples = time.process_time() - start, summary["log_likelihood"], summary["check"]["samples"]
    means = [found[kind]["mean"] for kind in ("gaussian", "kernel_density", "mixture", "network", "difference")]
    like = (samples["share"], samples["p_value"]) if samples else (np.nan, np.nan)
    return Result(
        name, x.shape, continuous(x), *means, found["difference"]["se"], *like, seconds, len(summary["notes"])
    )


HEAD = f"{'table':<12}{'rows':>7}{'d':>3}   {'Gaussian':>9}{'kernel':>9}{'mixture':>9}{'fit':>9}   {'above the best':<15} {'samples':>12}  CPU s  notes"


def line(r):
    """One line of the table; a star marks a table that is not continuous."""
    return (
        f"{r.name + '*' * (not r.continuous):<12}{r.shape[0]:7d}{r.shape[1]:3d}   {r.gaussian:9.2f}{r.kernel_density:9.2f}{r.mixture:9.2f}"
        f"{r.network:9.2f}   {r.difference:+6.2f} +- {r.error:<5.2f} {r.share:6.1%} {r.p:5.2f}  {r.seconds:5.0f}  {r.notes:5d}"
    )


def verdict(results):
    """How many are level with the best baseline or above, of all and of the continuous ones."""
    whole = [r for r in results if r.continuous]
    return (
        f"level with the best baseline or above (no more than {WITHIN} nats below): {sum(r.level for r in whole)} of {len(whole)} continuous "
        f"tables, {sum(r.level for r in results)} of {len(results)} in all; * not continuous"
    )


def main(names):
    """Print the table."""
    results = []
    print(HEAD, flush=True)
    for name, x in tables(names).items():
        results.append(measured(name, x))
        print(line(results[-1]), flush=True)
    print(verdict(results))


if __name__ == "__main__":
    main(sys.argv[1:])
