"""Entry point of `python -m benchmarks`; the commands are in `compare.py`, `cv.py`, `network.py` and `coverage.py`."""

import sys

from benchmarks import compare, coverage, cv, network

COMMANDS = {"cv": cv.main, "network": network.main, "coverage": coverage.main}

if __name__ == "__main__":
    command = COMMANDS.get(sys.argv[1] if len(sys.argv) > 1 else "")
    sys.exit(command(sys.argv[2:]) if command else compare.main())
