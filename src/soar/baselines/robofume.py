"""RoboFuME before the robot: language-conditioned Cal-QL on demonstrations and own episodes (arXiv 2310.15145).

    folder/                  the actor, a policy that follows instructions like any other: `soar evaluate`, `soar collect`
    folder/critic/           actor and critics, from which training goes on and which can re-rank (`soar.baselines.reranking`)
    folder/training/         checkpoints and metrics, see `soar.training.loop`; run.json refuses another run

Rewards come from verdicts (`soar.baselines.rewards`): demonstrations are successes unless somebody judged otherwise, autonomous
episodes are what their judge said, failures too. What a step sees is an observation, its action and the next observation: the
mixtures, filters and augmentation are those of imitation, with the next frame for a goal.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from soar.baselines.actor_critic import ActorCritic, ActorCriticConfig, CriticConfig
from soar.baselines.calql import CalQLConfig
from soar.baselines.rewards import RewardConfig
from soar.baselines.transitions import check_range, mixture_of, rewarded_data, statistics_of, transitions_of
from soar.datasets import StepArrays
from soar.errors import CheckpointError, ConfigError
from soar.nn.model_files import read_config, read_weights, save_model
from soar.policies.instructions import InstructionEncoder
from soar.policies.learned import LearnedPolicy
from soar.policies.lineage import Lineage, git_revision
from soar.seeding import derive_seed
from soar.training.checkpoints import claim
from soar.training.config import PolicyTrainingConfig
from soar.training.cotraining import AutonomousData
from soar.training.data import SourceConfig
from soar.training.learner import LearningData, OnStep
from soar.training.loop import FitConfig, check_parts, fit
from soar.training.samples import Batch, Samples

KIND = "soar-actor-critic"
_NARROWEST = 1e-4
"""Least width of a dimension's range [m, rad]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoboFuMEConfig:
    """Everything about its training but the data.

    Attributes:
        policy: The optimisation, the actor's network, augmentation, and how the two kinds of data are mixed.
        critic: The critics.
        rewards: What an attempt is worth.
        calql: How conservative the critics are.
    """

    policy: PolicyTrainingConfig
    critic: CriticConfig = field(default_factory=CriticConfig)
    rewards: RewardConfig = field(default_factory=RewardConfig)
    calql: CalQLConfig = field(default_factory=CalQLConfig)

    def __post_init__(self) -> None:
        for name in ("pretraining", "autonomous"):
            source: SourceConfig = getattr(self.policy, name)
            wrong = [key for key in ("sum_actions", "clean_grasps", "imagined_goals") if getattr(source, key)]
            if wrong:
                raise ConfigError(
                    f"policy.{name}.{wrong[0]} changes what was done or seen, and a critic learns what came of what was done: "
                    f"leave {', '.join(wrong)} out"
                )


def train_robofume(
    config: RoboFuMEConfig,
    folder: Path,
    *,
    pretraining: str | Path,
    autonomous: AutonomousData | None = None,
    initial: Path | None = None,
    device: str = "cpu",
    on_step: OnStep | None = None,
) -> Path:
    """Train actor and critics and write them to a folder; resumes exactly, and a finished folder is returned at once.

    Args:
        config: How.
        folder: Where they go.
        pretraining: Store of demonstrations.
        autonomous: Attempts with verdicts, failures included unless it says otherwise.
        initial: Folder of an earlier run to go on from; its range of actions stays.
        device: Of torch.
        on_step: See `soar.training.loop.fit`.

    Raises:
        StoreError: A store is missing or empty, or autonomous episodes lack verdicts.
        ConfigError: The folder holds another run, or actions lie outside the range that the critics know.
        CheckpointError: `initial` holds no critics, or other ones.
    """
    check_parts(config.policy.fit, cuttable=False)
    parent = None if initial is None else load_actor_critic(initial)
    data = rewarded_data(config.policy, config.rewards, pretraining, autonomous)
    network_config = network_config_of(config, list(data.sources.values()), parent, initial)
    for name, arrays in data.sources.items():
        check_range(arrays.actions_ND[arrays.has_action_N], network_config, f"source {name!r}")
    mixture = mixture_of(data, config.policy)
    parent_id = "" if initial is None else LearnedPolicy.load(initial).id
    run = dataclasses.asdict(config) | {"parent": parent_id, **data.description()}
    # Runs that were begun before verdicts were written down have them in `rewarded`, by their number.
    defaults = dataclasses.asdict(RoboFuMEConfig(policy=_DEFAULT)) | {"verdicts": run["verdicts"]}
    claim(folder / "training" / "run.json", run, defaults)
    if (folder / "config.json").exists():
        LearnedPolicy.load(folder)
        load_actor_critic(folder)
        return folder
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.policy.fit.seed, "network"))
        network = ActorCritic(network_config)
    if parent is not None:
        network.load_state_dict(parent.state_dict())
    network.to(device)
    instructions = InstructionEncoder(config.policy.network.instruction)
    samples = Samples(config.policy, mixture, instructions)
    tables = [data.rewards[name] for name in mixture.names]

    def losses(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        actor_critic = cast(ActorCritic, model)
        actor_critic.update_targets()
        return actor_critic.losses(
            transitions_of(batch, tables, actor_critic.config, config.policy, device), config.calql, config.rewards.discount
        )

    metrics = fit(
        network,
        samples.draw,
        losses,
        config.policy.fit,
        folder / "training",
        part_fn=samples.gather,
        describe=samples.describe,
        on_step=on_step,
        rate_of=lambda name: config.critic.actor_rate if name.startswith("actor") else 1.0,
    )
    lineage = Lineage(parent=parent_id, data=data.versions, revision=git_revision(), metrics=metrics)
    save_actor_critic(folder, network, lineage, instructions)
    return folder


def save_actor_critic(folder: Path, network: ActorCritic, lineage: Lineage, instructions: InstructionEncoder) -> None:
    """Write the critics and then the actor, whose description says that the folder is whole.

    Raises:
        SoarError: The folder is read-only or the disk is full.
    """
    network.eval()
    save_model(folder / "critic", KIND, network.config, network, dataclasses.asdict(lineage), half=False)
    LearnedPolicy.write(folder, network.policy_network(), statistics_of(network.config), lineage, instructions)


def load_actor_critic(folder: Path, device: str = "cpu") -> ActorCritic:
    """Return actor and critics of a run's folder, in evaluation mode.

    Raises:
        CheckpointError: There are none, or they are damaged.
    """
    config = read_config(folder / "critic", KIND, ActorCriticConfig)
    network = ActorCritic(config)
    read_weights(folder / "critic", network)
    return network.to(device).eval()


def network_config_of(
    config: RoboFuMEConfig, sources: Sequence[StepArrays], parent: ActorCritic | None, initial: Path | None
) -> ActorCriticConfig:
    """Return the network of a recipe, with the range of actions of the sources, or of the parent that is gone on from.

    Raises:
        CheckpointError: The parent, which is in the folder `initial`, has another network.
    """
    if parent is not None:
        mine, theirs = dataclasses.asdict(config.policy.network), dataclasses.asdict(parent.config.network)
        mine |= {"critic": dataclasses.asdict(config.critic)}
        theirs |= {"critic": dataclasses.asdict(parent.config.critic)}
        shape = ("encoder", "head", "instruction", "image_size", "fit", "camera")
        different = [name for name in shape if mine[name] != theirs[name]]
        different += [
            f"critic.{name}"
            for name in ("critics", "hidden", "action_every_layer", "shared")
            if mine["critic"][name] != theirs["critic"][name]
        ]
        if different:
            raise CheckpointError(
                f"cannot continue from {initial}: it has another network: {', '.join(different)}. Configure that one, or train "
                "from the start."
            )
        return replace(parent.config, network=config.policy.network, critic=config.critic)
    actions_ND = np.concatenate([arrays.actions_ND[arrays.has_action_N] for arrays in sources])
    low_D, high_D = actions_ND.min(0).astype(np.float64), actions_ND.max(0).astype(np.float64)
    narrow_D = np.maximum(_NARROWEST - (high_D - low_D), 0) / 2
    low_D, high_D = low_D - narrow_D, high_D + narrow_D
    low_D[-1], high_D[-1] = 0.0, 1.0
    return ActorCriticConfig(
        network=config.policy.network, critic=config.critic, low=tuple(low_D.tolist()), high=tuple(high_D.tolist())
    )


_DEFAULT = PolicyTrainingConfig(fit=FitConfig(steps=1), autonomous=SourceConfig())


@dataclass(frozen=True, slots=True)
class RoboFuMELearner:
    """RoboFuME as a learner like any other: its candidate is the actor.

    Args:
        recipe: How it trains.
    """

    recipe: RoboFuMEConfig

    def check(self, base: Path) -> str:
        """Return the id of a base that it can go on from.

        Raises:
            CheckpointError: It has no critics, or its parts are damaged.
        """
        load_actor_critic(base)
        return LearnedPolicy.load(base).id

    def learn(
        self,
        base: Path | None,
        data: LearningData,
        folder: Path,
        *,
        seed: int,
        device: str = "cpu",
        on_step: OnStep | None = None,
    ) -> Path:
        """Train a candidate; errors as in `train_robofume`."""
        policy = replace(self.recipe.policy, fit=replace(self.recipe.policy.fit, seed=seed))
        return train_robofume(
            replace(self.recipe, policy=policy),
            folder,
            pretraining=data.pretraining,
            autonomous=data.autonomous,
            initial=base,
            device=device,
            on_step=on_step,
        )
