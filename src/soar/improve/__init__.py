"""The loop: collect, learn, evaluate, promote; and the pre-training that it begins with."""
