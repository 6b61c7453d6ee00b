"""Pages and pictures of the simulated scenes."""
