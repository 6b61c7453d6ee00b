"""Training: one resumable loop, image augmentation, and the trainer of goal-conditioned policies."""
