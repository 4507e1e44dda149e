"""A fitted model as one HTML file that needs nothing else: no network, no library, no server.

Read next: ``contents.py`` (what is in it), ``page.py`` (how it becomes a file), ``report.js`` (what the browser does).
"""
