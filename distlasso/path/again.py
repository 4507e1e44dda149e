"""Fitting the same data again, under the same options, at another lambda.

Read next: ``result.py``, whose paths know how.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, final

from distlasso.errors import InputError

if TYPE_CHECKING:
    from distlasso.path.result import Path


@final
class Again:
    """Holds the data of a fit for as long as its path lives; neither saved nor pickled with it."""

    __slots__ = ("_fit",)

    def __init__(self, fit: Callable[[float, Path], Path] | None = None) -> None:
        self._fit = fit

    def __reduce__(self) -> tuple[type[Again], tuple[()]]:
        return Again, ()

    def __call__(self, lam: float, near: Path) -> Path:
        """Fit at ``lam``, beginning at the solutions of a path.

        Raises
        ------
        InputError
            If the data is not there any more.
        """
        if self._fit is None:
            raise InputError(
                f"the path does not have its data: dl.fit_path(data, lambdas=[{lam:g}], init=path) with the options "
                "of the fit is what exact=True does"
            )
        return self._fit(lam, near)
