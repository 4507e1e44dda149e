"""Missing values: which stored value means that there is none, and the mean that takes its place.

Nothing is filled in a store or in memory. A matrix says which value means missing (an integer code; NaN in floats); the
feature statistics give the mean of the others, over all rows of the fit; and whatever widens a value for algebra puts
that mean there. Read next: ``blocks.py``, ``../kernels/missing.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from distlasso.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

Code = float | int


@final
@dataclass(frozen=True, slots=True)
class Imputation:
    """What is put where a value is missing.

    Attributes
    ----------
    code : int or float
        The stored value that means missing; NaN in floats.
    fill : float64 [p]
        The mean of each column over the rows of the fit where it has a value; 0 where it has none.
    """

    code: Code
    fill: Floats

    def take(self, columns: Ints | slice) -> Imputation:
        """Only some of the columns."""
        return Imputation(self.code, self.fill[columns])

    def apply(self, values: NDArray[Any]) -> Floats:
        """Values [n, p] in float64, without holes."""
        return np.where(is_missing(values, self.code), self.fill, values).astype(np.float64, copy=False)


def in_registers(imputation: Imputation | None, dtype: Any, centre: Floats) -> tuple[Any, Floats]:
    """Code and lift (what stands for a missing value, less the centre), as the kernels want them."""
    if imputation is None:
        return None, centre  # unread: kernels have no test where nothing is missing
    return dtype.type(imputation.code), imputation.fill - centre


def is_missing(values: NDArray[Any], code: Code | None) -> Mask:
    """Where values are the code, or NaN."""
    holes = values != values
    return np.asarray(holes if code is None else holes | (values == code))


def recode(values: NDArray[Any], given: Code | None, code: Code, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Values in another dtype, where what is missing, by the code given or as NaN, becomes ``code``."""
    return np.ascontiguousarray(np.where(is_missing(values, given), code, values), dtype=dtype)


def checked(code: Any, dtype: np.dtype[Any]) -> Code:
    """Return a code that values of a dtype can have, from a number or the text "NaN".

    Raises
    ------
    InputError
        If it is not one number, or not one that means missing in that dtype.
    """
    try:
        number = float(code)
    except (TypeError, ValueError) as error:
        raise InputError(f"missing_value={code!r} is not a number") from error
    if dtype.kind == "f":
        if not np.isnan(number):
            raise InputError(
                f"missing_value={code!r}, but in {dtype.name} values NaN means missing: put NaN there, as "
                "dl.ingest(..., missing='keep') does"
            )
        return number
    limits = np.iinfo(dtype)
    if not limits.min <= number <= limits.max or number != int(number):
        raise InputError(f"missing_value={code!r} is not a value of {dtype.name} [{limits.min}, {limits.max}]")
    return int(number)


def spelled(code: Code | None) -> int | str | None:
    """The code as JSON can hold it."""
    return None if code is None else ("NaN" if np.isnan(code) else int(code))
