"""The loop: collect, learn, evaluate, promote."""
