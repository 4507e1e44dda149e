"""Products of stored columns with several models at once, each value widened in registers: no column is ever copied.

Four columns by four models: what is loaded is used four times, and sixteen sums fit the registers. That takes a third of the
time of BLAS on widened copies for four models, and no more for thirty. Every model has sums of its own, so that its bits do
not depend on its company. Read next: ``data/blocks.py`` and ``solvers/quadratic.py``, which ask for them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from distlasso.kernels import kernel
from distlasso.kernels.missing import centred

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_ABREAST = 4  # columns, and models
_ROWS = 8192  # at a time: four models of so many rows stay in cache


def correlate(X: NDArray[np.generic], at: Ints, centre: Floats, code: Any, lift: Floats, d: Floats) -> Floats:
    """sum_i (x_ij - centre_j) d_ik of every column and model.

    Parameters
    ----------
    X : [n, q], columns one after the other
    at : int64 [p]
        Columns of X.
    centre, lift : float64 [p]
        What is subtracted, and what a value counts for that equals ``code``.
    code : scalar of the dtype of X, or None
    d : float64 [n, m]

    Returns
    -------
    float64 [p, m], models one after the other
    """
    out = np.zeros((_padded(d.shape[1]), at.size))
    turned = np.zeros((len(out), len(d)))
    turned[: d.shape[1]] = d.T
    _correlate(X, at, centre, code, lift, turned, out)
    return out[: d.shape[1]].T


def combine(X: NDArray[np.generic], rows: slice, at: Ints, centre: Floats, code: Any, lift: Floats, b: Floats) -> Floats:
    """sum_j (x_ij - centre_j) b_jk of some rows, for every model.

    Parameters
    ----------
    X, at, centre, code, lift : as in ``correlate``
    rows : slice of two numbers
    b : float64 [p, m]

    Returns
    -------
    float64 [rows, m], models one after the other
    """
    out = np.zeros((_padded(b.shape[1]), rows.stop - rows.start))
    own = np.zeros((at.size, len(out)))
    own[:, : b.shape[1]] = b
    _combine(X, rows.start, at, centre, code, lift, own, out)
    return out[: b.shape[1]].T


def _padded(models: int) -> int:
    return -(-models // _ABREAST) * _ABREAST


@kernel
def _correlate(X: NDArray[np.generic], at: Ints, centre: Floats, code: Any, lift: Floats, D: Floats, out: Floats) -> None:
    """out_kj += sum_i (x_ij - centre_j) d_ki; the number of models is a multiple of four."""
    last = at.size - 1
    for start in range(0, D.shape[1], _ROWS):
        stop = min(start + _ROWS, D.shape[1])
        for j in range(0, at.size, 4):
            j1, j2, j3 = min(j + 1, last), min(j + 2, last), min(j + 3, last)
            a, b = X[start:stop, at[j]], X[start:stop, at[j1]]
            c, d = X[start:stop, at[j2]], X[start:stop, at[j3]]
            ca, cb, cc, cd = centre[j], centre[j1], centre[j2], centre[j3]
            la, lb, lc, ld = lift[j], lift[j1], lift[j2], lift[j3]
            for k in range(0, D.shape[0], 4):
                e, f, g, h = D[k, start:stop], D[k + 1, start:stop], D[k + 2, start:stop], D[k + 3, start:stop]
                ae = af = ag = ah = be = bf = bg = bh = ce = cf = cg = ch = de = df = dg = dh = 0.0
                for i in range(a.size):
                    xa, xb = centred(a[i], ca, code, la), centred(b[i], cb, code, lb)
                    xc, xd = centred(c[i], cc, code, lc), centred(d[i], cd, code, ld)
                    ae, af, ag, ah = ae + xa * e[i], af + xa * f[i], ag + xa * g[i], ah + xa * h[i]
                    be, bf, bg, bh = be + xb * e[i], bf + xb * f[i], bg + xb * g[i], bh + xb * h[i]
                    ce, cf, cg, ch = ce + xc * e[i], cf + xc * f[i], cg + xc * g[i], ch + xc * h[i]
                    de, df, dg, dh = de + xd * e[i], df + xd * f[i], dg + xd * g[i], dh + xd * h[i]
                _add(out, k, j, ae, af, ag, ah)
                if j1 > j:
                    _add(out, k, j1, be, bf, bg, bh)
                if j2 > j1:
                    _add(out, k, j2, ce, cf, cg, ch)
                if j3 > j2:
                    _add(out, k, j3, de, df, dg, dh)


@kernel
def _add(out: Floats, k: int, j: int, e: float, f: float, g: float, h: float) -> None:
    """Add the sums of one column and four models."""
    out[k, j] += e
    out[k + 1, j] += f
    out[k + 2, j] += g
    out[k + 3, j] += h


@kernel
def _combine(
    X: NDArray[np.generic], first: int, at: Ints, centre: Floats, code: Any, lift: Floats, B: Floats, out: Floats
) -> None:
    """out_ki += sum_j (x_ij - centre_j) b_jk; i counts from ``first``, and the number of models is a multiple of four."""
    last = at.size - 1
    zero = np.zeros(B.shape[1])
    for start in range(0, out.shape[1], _ROWS // 4):
        stop = min(start + _ROWS // 4, out.shape[1])
        for j in range(0, at.size, 4):
            j1, j2, j3 = min(j + 1, last), min(j + 2, last), min(j + 3, last)
            a, b = X[first + start : first + stop, at[j]], X[first + start : first + stop, at[j1]]
            c, d = X[first + start : first + stop, at[j2]], X[first + start : first + stop, at[j3]]
            ca, cb, cc, cd = centre[j], centre[j1], centre[j2], centre[j3]
            la, lb, lc, ld = lift[j], lift[j1], lift[j2], lift[j3]
            ba, bb = B[j], B[j1] if j1 > j else zero
            bc, bd = B[j2] if j2 > j1 else zero, B[j3] if j3 > j2 else zero
            for k in range(0, B.shape[1], 4):
                e, f, g, h = out[k, start:stop], out[k + 1, start:stop], out[k + 2, start:stop], out[k + 3, start:stop]
                ae, af, ag, ah = ba[k], ba[k + 1], ba[k + 2], ba[k + 3]
                be, bf, bg, bh = bb[k], bb[k + 1], bb[k + 2], bb[k + 3]
                ce, cf, cg, ch = bc[k], bc[k + 1], bc[k + 2], bc[k + 3]
                de, df, dg, dh = bd[k], bd[k + 1], bd[k + 2], bd[k + 3]
                for i in range(a.size):
                    xa, xb = centred(a[i], ca, code, la), centred(b[i], cb, code, lb)
                    xc, xd = centred(c[i], cc, code, lc), centred(d[i], cd, code, ld)
                    e[i] += xa * ae + xb * be + xc * ce + xd * de
                    f[i] += xa * af + xb * bf + xc * cf + xd * df
                    g[i] += xa * ag + xb * bg + xc * cg + xd * dg
                    h[i] += xa * ah + xb * bh + xc * ch + xd * dh
