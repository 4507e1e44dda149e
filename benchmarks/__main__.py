"""Entry point of `python -m benchmarks`; the commands are in `compare.py` and `network.py`."""

import sys

from benchmarks import compare, network

if __name__ == "__main__":
    if sys.argv[1:2] == ["network"]:
        sys.exit(network.main(sys.argv[2:]))
    sys.exit(compare.main())
