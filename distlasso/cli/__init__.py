"""The command line; ``app.py`` has the entry point, ``data.py`` and ``models.py`` the commands."""

from distlasso.cli.app import main

__all__ = ["main"]
