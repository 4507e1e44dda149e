"""Entry point of `python -m benchmarks`; the command itself is in `compare.py`."""

import sys

from benchmarks.compare import main

if __name__ == "__main__":
    sys.exit(main())
