"""Faults of a fleet, rehearsed: `soar fleet rehearse lab.yaml --plan plan.yaml`.

plan        what goes wrong, when, and to whom: drawn from a seed
lines       what lies between a robot and its coordinator, or a model: it can be cut, slow, or wrong
stage       the fleet: its coordinator and its robots as processes, all of them light (`soar.testing.light`)
faults      how each kind of fault is done, and undone
promises    what must be true at the end, read from the store, the spools, the journals, and what the arms said
rehearsing  all of it
"""
