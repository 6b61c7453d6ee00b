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
from numpy.typing import NDArray
from torch import Tensor, nn

from soar.baselines.actor_critic import LIMIT, ActorCritic, ActorCriticConfig, CriticConfig, Transitions
from soar.baselines.calql import CalQLConfig
from soar.baselines.rewards import RewardConfig, Rewards, rewards_of, verdicts
from soar.datasets import StepArrays, load_arrays
from soar.episodes import EpisodeStore
from soar.episodes.gripper import check_commands
from soar.errors import CheckpointError, ConfigError
from soar.nn.model_files import read_config, read_weights, save_model
from soar.normalization import ActionStatistics
from soar.policies.instructions import InstructionEncoder
from soar.policies.learned import LearnedPolicy
from soar.policies.lineage import Lineage, git_revision
from soar.seeding import derive_seed
from soar.training.augment import augment
from soar.training.checkpoints import claim
from soar.training.config import PolicyTrainingConfig
from soar.training.cotraining import AutonomousData
from soar.training.data import SourceConfig, co_training_mixture, make_sampler, with_instructions
from soar.training.learner import LearningData, OnStep
from soar.training.loop import FitConfig, check_parts, fit
from soar.training.policy import fingerprint
from soar.training.samples import Batch, Samples

KIND = "soar-actor-critic"
_SLACK = 1e-4
"""Share of the range by which an action may lie outside of it: rounding."""
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
    sources, rewards, versions = _load(config, pretraining, autonomous)
    network_config = _network_config(config, list(sources.values()), parent, initial)
    for name, arrays in sources.items():
        check_range(arrays.actions_ND[arrays.has_action_N], network_config, f"source {name!r}")
    mixture = co_training_mixture(
        make_sampler(sources["pretraining"], _next_frame(config.policy.pretraining)),
        make_sampler(sources["autonomous"], _next_frame(config.policy.autonomous), sources["pretraining"])
        if "autonomous" in sources
        else None,
        upsampling=config.policy.upsampling,
        cap=config.policy.autonomous_cap,
        share=config.policy.autonomous_share,
        fitter=config.policy.network.fitter,
    )
    parent_id = "" if initial is None else LearnedPolicy.load(initial).id
    data = {name: fingerprint(arrays) for name, arrays in sources.items()}
    verdict = {name: int(table.terminal_N.sum()) for name, table in rewards.items()}
    run = dataclasses.asdict(config) | {"parent": parent_id, "data": data, "rewarded": verdict}
    claim(folder / "training" / "run.json", run, dataclasses.asdict(RoboFuMEConfig(policy=_DEFAULT)))
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
    tables = [rewards[name] for name in mixture.names]

    def losses(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        actor_critic = cast(ActorCritic, model)
        actor_critic.update_targets()
        return actor_critic.losses(
            _transitions(batch, tables, actor_critic.config, config.policy, device), config.calql, config.rewards.discount
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
    lineage = Lineage(parent=parent_id, data=versions, revision=git_revision(), metrics=metrics)
    save_actor_critic(folder, network, lineage, instructions)
    return folder


def statistics_of(config: ActorCriticConfig) -> ActionStatistics:
    """Return how the actions of a network become physical ones: the middle of the range, and half its width."""
    low_D, high_D = np.array(config.low), np.array(config.high)
    return ActionStatistics(mean=((low_D + high_D) / 2).astype(np.float32), std=((high_D - low_D) / 2).astype(np.float32))


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


def _load(
    config: RoboFuMEConfig, pretraining: str | Path, autonomous: AutonomousData | None
) -> tuple[dict[str, StepArrays], dict[str, Rewards], dict[str, dict[str, int]]]:
    demonstrations = EpisodeStore(pretraining)
    stores = {"pretraining": (EpisodeStore(pretraining, version=demonstrations.version), None)}
    if autonomous is not None:
        newest = EpisodeStore(autonomous.store, version=autonomous.version)
        stores["autonomous"] = (EpisodeStore(autonomous.store, version=newest.version), autonomous.filter())
    sources, rewards = {}, {}
    for name, (store, where) in stores.items():
        arrays = load_arrays(store, where, fitter=config.policy.network.fitter)
        check_commands(arrays.actions_ND, store.uri)
        records = store.episodes(where)
        if name == "autonomous" and autonomous is not None:
            success_E = verdicts(records, autonomous.label, store.uri)
        else:
            success_E = np.array([record.success is not False for record in records], bool)
        told_E = np.array([bool(record.instruction.strip()) for record in records], bool)
        sources[name] = with_instructions(arrays, store.uri)
        rewards[name] = rewards_of(sources[name], success_E[told_E], config.rewards)
    return sources, rewards, {name: store.version for name, (store, _) in stores.items()}


def _network_config(
    config: RoboFuMEConfig, sources: Sequence[StepArrays], parent: ActorCritic | None, initial: Path | None
) -> ActorCriticConfig:
    if parent is not None:
        mine, theirs = dataclasses.asdict(config.policy.network), dataclasses.asdict(parent.config.network)
        mine |= {"critic": dataclasses.asdict(config.critic)}
        theirs |= {"critic": dataclasses.asdict(parent.config.critic)}
        shape = ("encoder", "head", "instruction", "image_size", "fit")
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


def _next_frame(source: SourceConfig) -> SourceConfig:
    return replace(source, goal_window=(1, 1), goals="uniform")


def _transitions(
    batch: Batch, tables: Sequence[Rewards], network: ActorCriticConfig, config: PolicyTrainingConfig, device: str
) -> Transitions:
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
