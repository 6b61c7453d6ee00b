"""Subgoals: what the camera image should look like 20 steps later (paper §B.4)."""
