"""A short run of the bench with a seed of its own: every fit ends with the bits of the quiet run, whatever is done to it."""

from __future__ import annotations

import pytest

from tests.chaos.bench import Bench

pytestmark = pytest.mark.xdist_group("farm")


def test_fits_end_with_the_right_bits_whatever_is_done_to_their_cluster() -> None:
    bench = Bench(seed=20, mean=5.0)
    try:
        report = bench.run(fits=8, seconds=60.0)
    finally:
        bench.close()
    print(report.markdown())
    assert report.n_troubles == 0, report.markdown()
    assert len(report.fits) >= 4 and report.n_faults >= 15, report.markdown()
