"""From stores to the steps that a critic learns from: an observation, its action, what it was worth, and the next observation.

The mixtures, filters and augmentation are those of imitation, with the next frame for a goal. Actions lie in -1..1: 0 is the
middle of their range.

Shape suffixes: B batch, N rows, E episodes, D action dimensions, H height, W width, C channels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from soar.baselines.actor_critic import LIMIT, ActorCriticConfig, Transitions
from soar.baselines.rewards import RewardConfig, Rewards, rewards_of, verdicts
from soar.datasets import Mixture, StepArrays, load_arrays
from soar.episodes import EpisodeStore
from soar.episodes.gripper import check_commands
from soar.episodes.magnitudes import check_magnitudes
from soar.errors import ConfigError
from soar.normalization import ActionStatistics
from soar.training.augment import augment
from soar.training.config import PolicyTrainingConfig
from soar.training.cotraining import AutonomousData
from soar.training.data import SourceConfig, co_training_mixture, make_sampler, with_instructions
from soar.training.policy import fingerprint
from soar.training.samples import Batch

_SLACK = 1e-4
"""Share of the range by which an action may lie outside of it: rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardedData:
    """Episodes by the name of their source, with their rewards and the versions of their stores."""

    sources: Mapping[str, StepArrays]
    rewards: Mapping[str, Rewards]
    versions: Mapping[str, Mapping[str, int]]

    def description(self) -> dict[str, Any]:
        """Return what tells these data from others: the episodes, how many steps end one in success, and which succeeded."""
        return {
            "data": {name: fingerprint(arrays) for name, arrays in self.sources.items()},
            "rewarded": {name: int(table.terminal_N.sum()) for name, table in self.rewards.items()},
            "verdicts": {name: self._successes(name) for name in self.sources},
        }

    def _successes(self, name: str) -> str:
        arrays, terminal_N = self.sources[name], self.rewards[name].terminal_N
        ended_E = terminal_N[arrays.starts_E + arrays.lengths_E - 1].tolist()
        ids = sorted(id_ for id_, ended in zip(arrays.ids, ended_E, strict=True) if ended)
        return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:12]


def rewarded_data(
    policy: PolicyTrainingConfig, config: RewardConfig, pretraining: str | Path, autonomous: AutonomousData | None
) -> RewardedData:
    """Read episodes and reward them by their verdicts; demonstrations are successes unless they were judged otherwise.

    Raises:
        StoreError: A store is missing or empty, autonomous episodes lack verdicts, or actions are in another unit.
        ConfigError: Somebody else's instructions are asked for.
    """
    if autonomous is not None and autonomous.instructions_by:
        raise ConfigError(
            "a verdict is about what was commanded, and rewards are made of verdicts: leave out the instructions by "
            f"{autonomous.instructions_by!r}"
        )
    camera = policy.network.camera
    demonstrations = EpisodeStore(pretraining, camera=camera)
    stores: dict[str, tuple[EpisodeStore, str | None]] = {
        "pretraining": (EpisodeStore(pretraining, version=demonstrations.version, camera=camera), None)
    }
    if autonomous is not None:
        newest = EpisodeStore(autonomous.store, version=autonomous.version)
        own = EpisodeStore(autonomous.store, version=newest.version, camera=camera)
        stores["autonomous"] = (own, autonomous.filter())
    sources, rewards = {}, {}
    for name, (store, where) in stores.items():
        arrays = load_arrays(store, where, fitter=policy.network.fitter)
        check_commands(arrays.actions_ND, store.uri)
        check_magnitudes({"state": arrays.states_ND, "action": arrays.actions_ND}, store.uri)
        records = store.episodes(where)
        if name == "autonomous" and autonomous is not None:
            success_E = verdicts(records, autonomous.label, store.uri)
        else:
            success_E = np.array([record.success is not False for record in records], bool)
        told_E = np.array([bool(record.instruction.strip()) for record in records], bool)
        sources[name] = with_instructions(arrays, store.uri)
        rewards[name] = rewards_of(sources[name], success_E[told_E], config)
    versions = {name: store.version for name, (store, _) in stores.items()}
    return RewardedData(sources=sources, rewards=rewards, versions=versions)


def mixture_of(data: RewardedData, policy: PolicyTrainingConfig) -> Mixture:
    """Return what batches are drawn from, with the next frame as the goal of each."""
    sources = data.sources
    own = None
    if "autonomous" in sources:
        own = make_sampler(sources["autonomous"], next_frame(policy.autonomous), sources["pretraining"])
    return co_training_mixture(
        make_sampler(sources["pretraining"], next_frame(policy.pretraining)),
        own,
        upsampling=policy.upsampling,
        cap=policy.autonomous_cap,
        share=policy.autonomous_share,
        fitter=policy.network.fitter,
    )


def statistics_of(config: ActorCriticConfig) -> ActionStatistics:
    """Return how the actions of a network become physical ones: the middle of the range, and half its width."""
    low_D, high_D = np.array(config.low), np.array(config.high)
    return ActionStatistics(mean=((low_D + high_D) / 2).astype(np.float32), std=((high_D - low_D) / 2).astype(np.float32))


def check_range(actions_ND: NDArray[np.floating], config: ActorCriticConfig, where: str) -> None:
    """Refuse actions that the critics cannot be asked about.

    Raises:
        ConfigError: Some lie outside the range; the message names the dimension and both numbers.
    """
    low_D, high_D = np.array(config.low), np.array(config.high)
    slack_D = _SLACK * (high_D - low_D)
    outside_N = ((actions_ND < low_D - slack_D) | (actions_ND > high_D + slack_D)).any(axis=1)
    if not outside_N.any():
        return
    beyond_D = np.maximum(low_D - actions_ND.min(0), actions_ND.max(0) - high_D) / (high_D - low_D)
    worst = int(beyond_D.argmax())
    raise ConfigError(
        f"{where}: {outside_N.sum()} of {len(actions_ND)} actions lie outside the range that the critic knows: dimension "
        f"{worst} goes from {actions_ND[:, worst].min():.4g} to {actions_ND[:, worst].max():.4g}, the critic from "
        f"{low_D[worst]:.4g} to {high_D[worst]:.4g}. Train a critic on these episodes, too, instead of continuing this one."
    )


def next_frame(source: SourceConfig) -> SourceConfig:
    """Return how a source is sampled when the goal is the next frame."""
    return replace(source, goal_window=(1, 1), goals="uniform")


def transitions_of(
    batch: Batch, tables: Sequence[Rewards], network: ActorCriticConfig, config: PolicyTrainingConfig, device: str
) -> Transitions:
    """Return the steps of a batch, on a device, augmented and rewarded."""
    hindsight = batch.hindsight
    assert hindsight is not None
    assert batch.embeddings_BE is not None
    image_BCHW, next_image_BCHW = augment(
        torch.from_numpy(hindsight.observation_BHWC).to(device),
        torch.from_numpy(hindsight.goal_BHWC).to(device),
        config.augmentation,
        torch.from_numpy(batch.augmentation_BU),
    )
    statistics = statistics_of(network)
    normalized_BD = ((hindsight.actions_BD - statistics.mean) / statistics.std).clip(-LIMIT, LIMIT)
    columns = np.empty((3, len(normalized_BD)), np.float32)
    for source, table in enumerate(tables):
        slots = np.flatnonzero(hindsight.source_B == source)
        rows = hindsight.rows_B[slots]
        columns[:, slots] = table.reward_N[rows], table.terminal_N[rows], table.return_N[rows]
    reward_B, terminal_B, return_B = torch.from_numpy(columns).to(device)
    return Transitions(
        image_BCHW=image_BCHW,
        next_image_BCHW=next_image_BCHW,
        embedding_BE=torch.from_numpy(batch.embeddings_BE).to(device),
        action_BD=torch.from_numpy(normalized_BD.astype(np.float32)).to(device),
        reward_B=reward_B,
        terminal_B=terminal_B,
        return_B=return_B,
    )
