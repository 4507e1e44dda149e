"""Comparison of distlasso with other lasso programs, all measured in turn in one run.

`python -m benchmarks compare W1 W2 W6 --peers sklearn adelie` does everything. Reading order: `workloads.py` (the data),
`peers.py` (how each program is called), `worker.py` (one program, one process), `accuracy.py` (the judge), `compare.py` (the run),
`table.py` (what is printed).
"""
