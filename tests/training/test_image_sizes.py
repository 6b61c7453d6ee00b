"""Pictures of any size and shape train, and act in the same way as they trained."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from soar.datasets import load_arrays
from soar.episodes import EpisodeStore
from soar.images import ImageFitter
from soar.policies.encoders import EncoderConfig
from soar.policies.learned import LearnedPolicy
from soar.policies.network import NetworkConfig
from soar.training.config import PolicyTrainingConfig
from soar.training.cotraining import AutonomousData, cotrain
from soar.training.loop import FitConfig
from soar.types import Episode, Label, Observation


def store(folder: Path, size: tuple[int, int], source: str = "simulator") -> EpisodeStore:
    """Four episodes of random pictures of a size."""
    episodes = EpisodeStore(folder, mode="create")
    rng = np.random.default_rng(0)
    for number in range(4):
        # Blocks, which survive JPEG and scaling.
        images = np.kron(rng.integers(0, 256, (9, size[0] // 8, size[1] // 8, 3)), np.ones((1, 8, 8, 1), int)).astype(np.uint8)
        actions = rng.normal(0, 0.01, (8, 7)).astype(np.float32)
        actions[:, 6] = rng.integers(0, 2, 8)
        episodes.append(
            Episode(
                id=f"e{number}",
                scene="s",
                instruction="open the drawer",
                images_THWC=images,
                states_TD=rng.normal(0, 0.1, (9, 7)).astype(np.float32),
                actions_TD=actions,
                labels=(Label(success=True, probability=0.9, source=source),),
            )
        )
    return episodes


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
def test_frames_of_a_camera_with_four_to_three_train_and_act(tmp_path: Path, fit: Literal["squash", "crop", "pad"]) -> None:
    wide = store(tmp_path / "wide", (48, 64))
    store(tmp_path / "square", (96, 96), "judge")
    config = PolicyTrainingConfig(
        fit=FitConfig(steps=2, batch_size=4, warmup_steps=1, checkpoint_every=2),
        network=NetworkConfig(encoder=EncoderConfig(name="small", width=4), image_size=64, fit=fit),
    )
    own = AutonomousData(store=tmp_path / "square", success_only=False)
    folder = cotrain(config, tmp_path / "policy", pretraining=tmp_path / "wide", autonomous=own)
    policy = LearnedPolicy.load(folder)
    assert (policy.image_size, policy.network.config.fit) == (64, fit)
    seen = wide.read("e0")
    as_trained = load_arrays(wide, "id = 'e0'", fitter=ImageFitter(size=64, fit=fit)).images_NHWC[np.array([0, 8])]
    acts = []
    for observation, goal in ((seen.images_THWC[0], seen.images_THWC[8]), as_trained):
        policy.reset()
        acts.append(policy.act([Observation(image_HWC=observation, state=seen.states_TD[0])], [goal])[0])
    assert np.allclose(acts[0], acts[1], atol=1e-6)
