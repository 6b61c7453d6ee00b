"""Scripted policies: the expert that looks at the truth, and one that does not look at all."""
