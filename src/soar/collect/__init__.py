"""Autonomous collection on one robot: rollout and collector."""
