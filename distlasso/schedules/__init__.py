"""Penalty schedules, one kind a file."""
