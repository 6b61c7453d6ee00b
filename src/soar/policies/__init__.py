"""Policies: images in, actions out. Networks, the policy that is loaded from a checkpoint, and exploration around it."""
