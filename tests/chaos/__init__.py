"""Fits while their cluster is being taken apart on purpose: ``python -m tests.chaos`` for long, ``test_chaos.py`` for short."""
