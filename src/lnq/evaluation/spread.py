"""How values are spread over cases: the one meaning of mean, standard deviation and quartiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray


@dataclass(frozen=True)
class Spread:
    """Mean and spread of the values that exist; None where there is none at all.

    Attributes:
        mean: Mean.
        sd: Standard deviation of the population, as in the challenge's tables; None of one value,
            which has no spread.
        median: Median.
        q25: Lower quartile.
        q75: Upper quartile.
        n: How many values there are.
        n_undefined: How many cases have none.
    """

    mean: float | None
    sd: float | None
    median: float | None
    q25: float | None
    q75: float | None
    n: int
    n_undefined: int

    @classmethod
    def of(cls, values: pd.Series | NDArray[np.float64]) -> Spread:
        """The spread of values, of which NaN are undefined.

        Example:
            >>> spread = Spread.of(np.array([1.0, 1.0, 4.0, 4.0, np.nan]))
            >>> spread.mean, spread.sd, spread.q75, spread.n, spread.n_undefined
            (2.5, 1.5, 4.0, 4, 1)
        """
        every = np.asarray(values, dtype=float)
        valid = every[~np.isnan(every)]
        undefined = len(every) - len(valid)
        if not len(valid):
            return cls(None, None, None, None, None, 0, undefined)
        q25, median, q75 = (float(q) for q in np.quantile(valid, (0.25, 0.5, 0.75)))
        sd = float(valid.std()) if len(valid) > 1 else None
        return cls(float(valid.mean()), sd, median, q25, q75, len(valid), undefined)


def mean_and_sd(mean: float | None, sd: float | None) -> str:
    """Both in a cell of a table; a single value has no spread, and no value is a dash.

    Example:
        >>> mean_and_sd(55.444, 2.0), mean_and_sd(55.444, None), mean_and_sd(None, None)
        ('55.44±2.00', '55.44', '-')
    """
    if mean is None or np.isnan(mean):
        return "-"
    return f"{mean:.2f}" if sd is None or np.isnan(sd) else f"{mean:.2f}±{sd:.2f}"
