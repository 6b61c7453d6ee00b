"""How fast image editors imagine subgoals, and what fewer steps cost. Each part prints JSON lines, and --out collects them.

    python benchmarks/subgoal.py branches --out results/subgoal.json
        One batch for the three branches of guidance against three calls, on this machine, at several batch sizes.
    python benchmarks/subgoal.py steps --store data/pictures/episodes --work WORK --out results/subgoal.json
        Trains a small editor on the simulator's pictures (resumes), and compares its held-out error at 10 and 50 steps.
    python benchmarks/subgoal.py gpu --out results/subgoal.json
        An editor of Stable Diffusion 1.5's size (random weights) against the stock pipeline of diffusers, on a GPU.

Rows of other parts stay in the file. Every ratio is of two things that ran in turns in one process.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from soar.evaluation.results import read_results, write_results
from soar.seeding import generator
from soar.subgoals.diffusion import load_pipeline
from soar.subgoals.editing import EditingConfig, Editor
from soar.subgoals.flow import to_float
from soar.subgoals.small import SmallConfig
from soar.training.editor import EditorTrainingConfig, train_editor
from soar.training.frame_pairs import StorePairs, pinned, split
from soar.training.loop import FitConfig
from soar.training.subgoal import CHANGED

SIZE = 32
FIT = FitConfig(
    steps=2000, batch_size=16, learning_rate=1e-3, warmup_steps=100, weight_decay=1e-2, beta2=0.99, ema=0.998, bf16=False,
    checkpoint_every=250,
)  # fmt: skip
RECIPE = EditorTrainingConfig(
    network=SmallConfig(vae_channels=(16, 32, 32), channels=(32, 64), text_width=64, text_layers=1),
    fit=FIT,
    autoencoder=FitConfig(steps=600, batch_size=16, learning_rate=2e-3, warmup_steps=50, ema=0.99, checkpoint_every=100),
    held_out=0.1,
    validation_pairs=16,
    sampling=EditingConfig(guidance=2.0, image_guidance=1.5, sampler="dpm", steps=10, image_size=SIZE),
)
PAIRS = 256


def train(store: Path, work: Path) -> None:
    """Train the small editor, or go on."""
    train_editor(
        RECIPE, store, work, where="simulator_success", on_step=lambda phase, done, total, _: print(phase, done, total, end="\r")
    )
    print()


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("branches", "steps", "gpu"))
    parser.add_argument("--store", type=Path, help="store of the simulator's pictures")
    parser.add_argument("--work", type=Path, help="folder of the small editor")
    parser.add_argument("--out", type=Path, help="results file")
    options = parser.parse_args()
    if options.part == "steps":
        train(options.store, options.work)


if __name__ == "__main__":
    main()
