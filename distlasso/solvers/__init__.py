"""Solvers of the problem restricted to the strong set: arrays in, coefficients out, no data access."""
