"""Models behind HTTP: what `soar serve` runs, with batches that form by themselves."""
