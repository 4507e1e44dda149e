"""What users call and what they get: ``fit_path`` and ``Path``."""
