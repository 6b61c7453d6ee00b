"""Robots in parallel: worker processes, and collection with them.

Import from the modules (`soar.fleet.processes`, …): this package imports nothing by itself, so that a worker process starts
light and loads only what its own work needs.
"""
