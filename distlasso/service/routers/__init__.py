"""What is served, one subject a file; ``app.py`` puts them together.

Read next: ``jobs.py``.
"""
