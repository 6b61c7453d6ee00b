"""The smallest things with which the real loop runs: a scene with one task, short recordings, networks of a few weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from soar.normalization import ActionStatistics
from soar.policies.encoders import EncoderConfig
from soar.policies.learned import LearnedPolicy
from soar.policies.lineage import Lineage
from soar.policies.network import NetworkConfig, PolicyNetwork

TASK = "put the green block in the wooden bowl"
SCENE = f"objects: [wooden bowl, green block]\ntasks: [{TASK}]\n"
DEMONSTRATIONS = "pretraining_only: true\nper_world: 2\n"
PICTURES = "pretraining_only: false\nprelude_steps: 20\nanswers: true\nper_world: 2\n"
CORRECTIONS = "pretraining_only: false\nanswers: true\nper_world: 0\ncorrections: 1\n"
PRESET = """
workers: 1
pretraining:
  demonstration_worlds: 1
  picture_worlds: 2
  correction_worlds: 1
  policy: &policy
    fit: {steps: 10, batch_size: 16, warmup_steps: 2, checkpoint_every: 5}
    network: {encoder: {name: small, width: 4}, image_size: 64}
    augmentation: {crop_scale: [1, 1], crop_ratio: [1, 1], shift: 2}
  sentences: hashed-words
  subgoal: &subgoal
    network: {width: 8, patch: 16, text: {width: 16}}
    fit: {steps: 4, batch_size: 8, warmup_steps: 2, checkpoint_every: 4}
  subgoal_correction: *subgoal
  vqa:
    network: {width: 16, pointers: 2, blocks: 1, text: {width: 16}}
    fit: {steps: 4, batch_size: 8, warmup_steps: 2, checkpoint_every: 4}
improvement:
  cotraining_worlds: 1
  trials: 1
  # Nobody succeeds with such models: what is learned from does not matter here.
  success_only: false
  collection: {episodes: 2}
  policy: *policy
"""


def write(folder: Path, name: str, text: str) -> str:
    """Write a file and return its path."""
    path = folder / name
    path.write_text(text)
    return str(path)


def random_policy(folder: Path, seed: int = 0) -> Path:
    """Write a policy that has learned nothing."""
    torch.manual_seed(seed)
    network = PolicyNetwork(NetworkConfig(encoder=EncoderConfig(name="small", width=4), image_size=64))
    std = np.array([0.01, 0.01, 0.01, 0.02, 0.02, 0.05, 1], np.float32)
    LearnedPolicy.save(folder, network, ActionStatistics(mean=np.zeros(7, np.float32), std=std), Lineage())
    return folder
