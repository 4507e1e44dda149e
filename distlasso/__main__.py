"""``python -m distlasso``: the command line."""

from distlasso.cli.app import main

main()
