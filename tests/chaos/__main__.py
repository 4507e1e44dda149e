"""``python -m tests.chaos --fits 500 --seed 1 --minutes 60 --out chaos.md``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tests.chaos.bench import Bench


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--fits", type=int, default=20, help="how many, unless time runs out")
    parser.add_argument("--first", type=int, default=0, help="fit of the plan to begin with, to see one again")
    parser.add_argument("--seed", type=int, default=1, help="of the plan: which fits, which faults, when")
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no fit after that")
    parser.add_argument("--faults", type=float, default=5.0, help="of a fit, on average")
    parser.add_argument("--out", type=Path, help="file for the tables; they are printed too")
    given = parser.parse_args()
    bench = Bench(given.seed, mean=given.faults, tell=lambda text: print(text, file=sys.stderr, flush=True))
    try:
        report = bench.run(given.fits, given.minutes * 60, given.first)
    finally:
        bench.close()
    command = f"python -m tests.chaos --fits {given.fits} --seed {given.seed} --minutes {given.minutes:g} --faults {given.faults:g}"
    text = f"`{command}`, {os.cpu_count()} processors\n\n{report.markdown()}\n"
    print(text)
    if given.out is not None:
        given.out.write_text(text)
    return 1 if report.n_troubles else 0


if __name__ == "__main__":
    raise SystemExit(main())
