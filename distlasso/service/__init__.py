"""The service: fits as jobs over HTTP, durable, watched as they run.

``app.py`` has what is served, ``jobs.py`` the life of a job as a pure state machine, ``store.py`` what is remembered,
``supervisor.py`` and ``runner.py`` how a job runs. Read next: ``jobs.py``.
"""
