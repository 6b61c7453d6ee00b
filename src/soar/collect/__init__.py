"""Autonomous collection on one robot: journal, rollout, collector; and worker processes for everything that runs in parallel.

Import from the modules (`soar.collect.collector`, `soar.collect.workers`, …): this package imports nothing by itself, so
that a worker process starts light and loads only what its own work needs.
"""
