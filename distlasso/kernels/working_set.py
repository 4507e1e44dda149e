"""What a solve on a working set asks of every column, in one visit to each: its gap, who is near, a step on its support.

A lambda on a thousand columns is a hundred such questions of a few microseconds. In numpy each takes several visits and fresh
vectors, and lets go of the interpreter in between, for which fits that go side by side wait at every turn. These hold it.
The certificate does without: it shares nothing with the solvers. Read next: ``../solvers/block_coordinate.py``.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from distlasso.kernels import kernel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_brief = partial(kernel, lets_go=False)


@_brief
def terms_of_gap(
    u: Floats, b: Floats, l1: Floats, l2: Floats, low: Floats, high: Floats
) -> tuple[float, float, float, float, int]:
    """Sum up what the gap of a squared loss takes from the columns.

    Returns the penalty of b, u'b, what slopes cost that neither a penalty nor a bound holds (they are taken out of u), the largest
    t up to 1 at which every conjugate is finite, and how many conjugates are finite, but not zero, on the way there. A column that
    is NaN makes u'b or the cost NaN.
    """
    value, inner, cost, limit, soft = 0.0, 0.0, 0.0, 1.0, 0
    for j in range(u.size):
        inner += 0.0 if l1[j] == 0.0 and l2[j] == 0.0 else u[j] * b[j]
        value += l1[j] * abs(b[j]) + 0.5 * l2[j] * b[j] * b[j]
    for j in range(u.size):
        if b[j] < low[j] or b[j] > high[j]:
            value = np.inf
        if l1[j] == 0.0 and l2[j] == 0.0:
            if not (b[j] <= low[j] and u[j] <= 0.0) and not (b[j] >= high[j] and u[j] >= 0.0):
                cost += abs(u[j]) * (1.0 + abs(b[j]))
                continue
            inner += u[j] * b[j]
        if abs(u[j]) > l1[j] and (low[j] < 0.0 or high[j] > 0.0):
            if l2[j] == 0.0 and np.isinf(high[j] if u[j] > 0.0 else low[j]):
                limit = min(limit, l1[j] / abs(u[j]))
            else:
                soft += 1
    return value, inner, cost, limit, soft


@_brief
def near(u: Floats, b: Floats, l1: Floats, l2: Floats, low: Floats, high: Floats, share: float) -> Ints:
    """Columns with a coefficient, without a penalty, or whose slope goes beyond that share of l1 where a bound lets it."""
    found, count = np.empty(b.size, np.int64), 0
    for j in range(b.size):
        up, down = u[j] if high[j] > 0.0 else 0.0, -u[j] if low[j] < 0.0 else 0.0
        if b[j] != 0.0 or max(up, down) > share * l1[j] or (l1[j] == 0.0 and l2[j] == 0.0):
            found[count] = j
            count += 1
    return found[:count].copy()


@_brief
def penalised(b: Floats, l1: Floats, l2: Floats, low: Floats, high: Floats) -> float:
    """The penalty of b; infinite outside its bounds."""
    total = 0.0
    for j in range(b.size):
        total += l1[j] * abs(b[j]) + 0.5 * l2[j] * b[j] * b[j]
    for j in range(b.size):
        if b[j] < low[j] or b[j] > high[j]:
            return np.inf
    return total


@_brief
def on_support(
    u: Floats, b: Floats, l1: Floats, l2: Floats, low: Floats, high: Floats, share: float, most: float
) -> tuple[Ints, Floats, Floats]:
    """The support, the slope of the objective there, and which slope would not matter, [s] each.

    The support are columns within their bounds that have a coefficient or no penalty. ``share`` is of what the penalty
    charges, and of ``most`` over what a coefficient may do where there is none.
    """
    found, slope, enough, count = np.empty(b.size, np.int64), np.empty(b.size), np.empty(b.size), 0
    for j in range(b.size):
        free = l1[j] == 0.0 and l2[j] == 0.0
        if low[j] < b[j] < high[j] and (b[j] != 0.0 or free):
            size = abs(b[j])
            found[count] = j
            slope[count] = u[j] - l1[j] * np.sign(b[j]) - l2[j] * b[j]
            enough[count] = share * (most / (1.0 + size) if free else l1[j] + l2[j] * size)
            count += 1
    return found[:count].copy(), slope[:count].copy(), enough[:count].copy()


@_brief
def advance(
    b: Floats, start: Floats, support: Ints, step: Floats, length: float, l1: Floats, low: Floats, high: Floats
) -> Floats:
    """Set b on the support to start + length step, within bounds and not across 0 where there is an l1; return its change."""
    change = np.zeros(b.size)
    for k in range(support.size):
        j = support[k]
        moved = min(max(start[k] + length * step[k], low[j]), high[j])
        if l1[j] > 0.0 and moved * start[k] < 0.0:
            moved = 0.0
        change[j] = moved - b[j]
        b[j] = moved
    return change


@_brief
def fitted(b: Floats, g0: Floats, u: Floats) -> float:
    """b'(g0 + u)."""
    total = 0.0
    for j in range(b.size):
        total += b[j] * (g0[j] + u[j])
    return total


@_brief
def bend(direction: Floats, image: Floats, l2: Floats, scale: Floats) -> tuple[float, float]:
    """Add l2 direction to its image; return direction'image, and what it would be under the diagonal ``scale``."""
    curved, straight = 0.0, 0.0
    for k in range(direction.size):
        image[k] += l2[k] * direction[k]
        curved += direction[k] * image[k]
        straight += scale[k] * direction[k] * direction[k]
    return curved, straight


@_brief
def go(step: Floats, rest: Floats, direction: Floats, image: Floats, length: float, enough: Floats) -> bool:
    """Go on along a direction; returns whether what rests is small enough everywhere."""
    over = 0
    for k in range(step.size):
        step[k] += length * direction[k]
        rest[k] -= length * image[k]
        over += not abs(rest[k]) <= enough[k]
    return over == 0


@_brief
def follow(older: Floats, last: Floats, share: float) -> Floats:
    """last + share (last - older), where that is no new coefficient and none of another sign."""
    ahead = last.copy()
    for j in range(last.size):
        found = last[j] + share * (last[j] - older[j])
        if older[j] != 0.0 and found * last[j] > 0.0:
            ahead[j] = found
    return ahead
