"""What a stored value counts for in algebra: itself less its centre, or, where it is missing, what stands in for it.

``code`` is the stored value that means missing, NaN in floats, or None where every value is data: then numba prunes the
test and nothing is paid for it. ``lift`` is what was put in the place of a missing value, less the centre.
"""

from __future__ import annotations

from typing import Any

from distlasso.kernels import kernel


@kernel
def centred(x: Any, centre: float, code: Any, lift: float) -> Any:
    """x - centre, or lift where x is missing."""
    if code is None:
        return x - centre
    return lift if (x == code) | (x != x) else x - centre
