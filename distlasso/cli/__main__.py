"""``python -m distlasso.cli``."""

import os

from distlasso.cli.app import main

os.environ.setdefault("PYTHONWARNINGS", "default")
main()
