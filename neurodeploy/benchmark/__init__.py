"""The benchmark of learning rules of varying locality (arXiv 2402.01782): a grid of independent jobs, one tidy table.

`grid.py` says what is run, `jobs.py` how each job is done, `runner.py` runs them anywhere and resumes, `table.py` holds
the rows, `published.py` the paper's numbers, `claims.py` its claims, `report.py` sets ours beside them.
"""
