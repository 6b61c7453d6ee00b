"""RoboFuME on the robot: actor and critics go on learning while they practise two tasks, one the other's way back.

    task      forward … a judged success ─► backward … a judged success ─► forward …     a failed attempt is tried again
    blocks    `reset_every` actions from a table that is set anew; each ends with a checkpoint
    batches   half old data, half what was done since the run began; an update an action, after each attempt

An interrupted run goes on from the last block that was finished, and ends where an uninterrupted one does: what a block draws
depends on the seed and its number, and frames are learned from as they are stored.

    run/                     the actor, a policy like any other, and run/critic, once all blocks are done
    run/episodes             every attempt, with the judge's verdict and, beside it, the truth
    run/training/checkpoints actor, critics and optimiser after each block
    run/online.json          what the run is; another one is refused

Shape suffixes: B batch, T time, E episodes, D action dimensions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from soar.baselines.actor_critic import ActorCritic, Transitions
from soar.baselines.rewards import Rewards, rewards_of
from soar.baselines.robofume import RoboFuMEConfig, load_actor_critic, network_config_of, save_actor_critic
from soar.baselines.transitions import (
    check_range,
    mixture_of,
    next_frame,
    rewarded_data,
    statistics_of,
    transitions_of,
)
from soar.cameras import MAIN
from soar.collect.models import open_vlm
from soar.collect.rollout import stacked_cameras
from soar.datasets import HindsightSampler, Mixture, StepArrays
from soar.episodes import EpisodeStore
from soar.episodes.encoded import EncodedEpisode, decode, encode
from soar.episodes.schema import DONE_BEFORE, SIMULATOR, UNDONE_BEFORE
from soar.errors import ConfigError, UnknownNameError
from soar.policies.base import check_cameras
from soar.policies.instructions import InstructionEncoder
from soar.policies.learned import LearnedPolicy
from soar.policies.lineage import Lineage, git_revision
from soar.policies.network import images_to_tensor
from soar.robots.workcell import Workcell, load_workcell
from soar.seeding import derive_seed, generator
from soar.tasks.detection import SuccessDetector
from soar.training.checkpoints import TrainingState, claim, restore, save
from soar.training.cotraining import AutonomousData
from soar.training.data import make_sampler
from soar.training.samples import Samples
from soar.types import Episode, Label, Observation, Provenance, Task

OnEpisode = Callable[[int, int, Episode], None]
"""Is told how many of how many actions are done, and of the last attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineConfig:
    """How practice goes; defaults: the paper of RoboFuME.

    Attributes:
        steps: Actions in all; a multiple of `reset_every`.
        episode_steps: Actions of an attempt at most.
        reset_every: Actions after which the table is set anew.
        look_every: Actions between two looks of the judge.
        old_share: Share of old data in a batch.
        threshold: Least probability at which the judge ends an attempt.
    """

    steps: int = 30_000
    episode_steps: int = 40
    reset_every: int = 1000
    look_every: int = 1
    old_share: float = 0.5
    threshold: float = 0.5

    def __post_init__(self) -> None:
        for name in ("steps", "episode_steps", "reset_every", "look_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"online: {name} must be at least 1, got {getattr(self, name)}")
        if self.steps % self.reset_every:
            raise ConfigError(f"online: steps ({self.steps}) must be a multiple of reset_every ({self.reset_every})")
        if not 0 < self.old_share < 1:
            raise ConfigError(f"online: old_share must lie between 0 and 1, got {self.old_share}")


def finetune_online(
    config: OnlineConfig,
    recipe: RoboFuMEConfig,
    run: Path,
    *,
    initial: Path,
    workcell: str,
    tasks: tuple[str, str],
    vlm: str,
    pretraining: str | Path,
    autonomous: AutonomousData | None = None,
    seed: int = 0,
    on_episode: OnEpisode | None = None,
) -> Path:
    """Practise and learn, and write the actor and its critics to the run's folder; resumes.

    Args:
        config: How practice goes.
        recipe: Of the training; its optimisation's learning rate is constant here.
        run: Folder of the run.
        initial: Folder that `train_robofume` wrote.
        workcell: Name of a workcell that can set a start and knows the truth: a simulated one.
        tasks: Instructions of its scene, forward and backward.
        vlm: Name of the model that judges.
        pretraining: Store of demonstrations, half of each batch together with `autonomous`.
        autonomous: Earlier attempts with verdicts.
        seed: Of everything random.
        on_episode: Is told of each attempt.

    Raises:
        ConfigError: The workcell cannot set a start, a task is not its scene's, or the folder holds another run.
        CheckpointError: `initial` has no critics, or another network than the recipe's.
        StoreError: A store is missing or empty.
    """
    parent = LearnedPolicy.load(initial)
    model = load_actor_critic(initial)
    model.config = network_config_of(recipe, (), model, initial)
    data = rewarded_data(recipe.policy, recipe.rewards, pretraining, autonomous)
    for name, arrays in data.sources.items():
        check_range(arrays.actions_ND[arrays.has_action_N], model.config, f"source {name!r}")
    what: dict[str, Any] = {"online": dataclasses.asdict(config), "recipe": dataclasses.asdict(recipe), "parent": parent.id}
    what |= {"workcell": workcell, "tasks": list(tasks), "vlm": vlm, "seed": seed, **data.description()}
    claim(run / "online.json", what, {"verdicts": what["verdicts"]})
    if (run / "config.json").exists():
        LearnedPolicy.load(run)
        return run
    size = model.config.network.image_size
    with load_workcell(workcell).open(image_size=size) as opened:
        check_cameras(parent, opened.robot.cameras, f"workcell {opened.name!r}")
        pair = _tasks(opened, tasks)
        open_vlm(vlm, opened)
        practice = _Practice(
            config=config,
            recipe=recipe,
            model=model,
            old=Samples(recipe.policy, mixture_of(data, recipe.policy), parent.instructions),
            old_rewards=[data.rewards[name] for name in data.sources],
            workcell=opened,
            tasks=pair,
            vlm=vlm,
            instructions=parent.instructions,
            run=run,
            seed=seed,
        )
        practice.go_on(on_episode)
    lineage = Lineage(parent=parent.id, data=data.versions, revision=git_revision())
    save_actor_critic(run, model, lineage, parent.instructions)
    return run


def _tasks(workcell: Workcell, tasks: Sequence[str]) -> list[Task]:
    if workcell.reset_for is None or workcell.truth is None:
        raise ConfigError(
            f"workcell {workcell.name!r} cannot set a start by itself, or does not know the truth: practice online is for "
            "simulated workcells"
        )
    known = {task.instruction: task for task in workcell.scene.tasks}
    for task in tasks:
        if task not in known:
            raise UnknownNameError("task", task, known, f"In scene {workcell.scene.name!r}.")
    return [known[task] for task in tasks]


@dataclass(slots=True, kw_only=True)
class _Practice:
    config: OnlineConfig
    recipe: RoboFuMEConfig
    model: ActorCritic
    old: Samples
    old_rewards: list[Rewards]
    workcell: Workcell
    tasks: list[Task]
    vlm: str
    instructions: InstructionEncoder
    run: Path
    seed: int

    def go_on(self, on_episode: OnEpisode | None) -> None:
        """Do the blocks that are left."""
        config, fit = self.config, self.recipe.policy.fit
        shares: dict[float, list[torch.nn.Parameter]] = {}
        for name, parameter in self.model.named_parameters():
            share = self.recipe.critic.actor_rate if name.startswith("actor") else 1.0
            shares.setdefault(share, []).append(parameter)
        groups = [{"params": parameters, "lr": share * fit.learning_rate} for share, parameters in shares.items()]
        optimizer = torch.optim.AdamW(groups, betas=(0.9, fit.beta2), weight_decay=fit.weight_decay, fused=True)
        state = TrainingState(model=self.model, optimizer=optimizer, ema=None)
        restore(state, self.run / "training" / "checkpoints")
        store = EpisodeStore(self.run / "episodes", mode="open_or_create")
        for record in store.episodes():
            if record.provenance.round >= state.step // config.reset_every:
                store.delete(record.id)  # of a block that was not finished, and is begun again
        further = self.model.config.network.camera != MAIN
        own = [decode(one) for one in store.read_many([record.id for record in store.episodes()], further=further)]
        for block in range(state.step // config.reset_every, config.steps // config.reset_every):
            made: list[Episode] = []
            kept: list[EncodedEpisode] = []
            forward = True
            # A judge that draws draws by the block, too.
            vlm = open_vlm(self.vlm, self.workcell, derive_seed(self.seed, "online judge", block))
            detector = SuccessDetector(vlm, config.threshold)
            assert self.workcell.reset_for is not None
            self.workcell.reset_for(self.tasks[0].instruction, derive_seed(self.seed, "online", block) % 2**31)
            while sum(len(one.actions_TD) for one in made) < config.reset_every:
                left = config.reset_every - sum(len(one.actions_TD) for one in made)
                task, steps = self.tasks[0 if forward else 1], min(left, config.episode_steps)
                episode = self._attempt(task, detector, block, len(made), steps)
                kept.append(encode(episode))
                made.append(decode(kept[-1]))
                if made[-1].labels[0].success:
                    forward = not forward
                self._learn(state, [*own, *made], len(episode.actions_TD))
                if on_episode is not None:
                    on_episode(state.step, config.steps, made[-1])
            own += made
            store.append(kept)
            save(state, self.run / "training" / "checkpoints", {}, kept=fit.checkpoints_kept)

    def _attempt(self, task: Task, detector: SuccessDetector, block: int, number: int, steps: int) -> Episode:
        robot = self.workcell.robot
        robot.home()
        assert self.workcell.truth is not None
        done_before = self.workcell.truth(task.instruction)
        self.model.eval()
        seen: list[Observation] = [robot.observe()]
        done: list[NDArray[np.float32]] = []
        verdict = Label(success=False, probability=None, source="")
        statistics, camera = statistics_of(self.model.config), self.model.config.network.camera
        embedding_BE = torch.from_numpy(self.instructions([task.instruction]))
        for step in range(steps):
            torch.manual_seed(derive_seed(self.seed, f"online/{block}/{number}", step))
            trunk = self.model.actor_trunk or self.model.trunk
            with torch.inference_mode():
                features_BF = trunk(images_to_tensor(seen[-1].picture(camera)[None]), embedding_BE)
                drawn_D = self.model.sample(features_BF, 1)[0][0, 0].numpy()
            action_D = (drawn_D * statistics.std + statistics.mean).astype(np.float32)
            action_D[-1] = action_D[-1] >= 0.5
            robot.act(action_D)
            done.append(robot.last_action)
            seen.append(robot.observe())
            if (step + 1) % self.config.look_every == 0 or step + 1 == steps:
                verdict = detector.detect(seen[-1].image_HWC, task)
                if verdict.success:
                    break
        said = "" if done_before is None else DONE_BEFORE if done_before else UNDONE_BEFORE
        truth = Label(success=self.workcell.truth(task.instruction), probability=None, source=SIMULATOR, answer=said)
        return Episode(
            id=f"online-{block:04d}-{number:05d}",
            scene=self.workcell.scene.name,
            instruction=task.instruction,
            images_THWC=np.stack([one.image_HWC for one in seen]),
            states_TD=np.stack([one.state for one in seen]).astype(np.float32),
            actions_TD=np.stack(done).astype(np.float32),
            extra_images=stacked_cameras(seen),
            labels=(verdict, truth),
            provenance=Provenance(
                policy="robofume-online", vlm=verdict.source, robot=self.workcell.name, run=self.run.name, round=block
            ),
        )

    def _learn(self, state: TrainingState, own: Sequence[Episode], updates: int) -> None:
        recipe, device = self.recipe, "cpu"
        arrays = arrays_of(own, self.model.config.network.camera)
        success_E = np.array([episode.labels[0].success is True for episode in own])
        new_rewards = [rewards_of(arrays, success_E, recipe.rewards)]
        sampler: HindsightSampler = make_sampler(arrays, next_frame(recipe.policy.pretraining))
        new = Samples(recipe.policy, Mixture([("online", sampler, 1.0)]), self.instructions)
        size = recipe.policy.fit.batch_size
        old_count = max(1, min(round(self.config.old_share * size), size - 1))
        new_count = max(1, size - old_count)
        self.model.train()
        for _ in range(updates):
            rng = generator(self.seed, "online batch", state.step)
            parts = []
            for samples, rewards, count in ((self.old, self.old_rewards, old_count), (new, new_rewards, new_count)):
                batch = samples.gather(samples.draw(rng, count), slice(None))
                parts.append(transitions_of(batch, rewards, self.model.config, recipe.policy, device))
            torch.manual_seed(derive_seed(self.seed, "online torch", state.step))
            self.model.update_targets()
            state.optimizer.zero_grad(set_to_none=True)
            losses = self.model.losses(_joined(parts), recipe.calql, recipe.rewards.discount)
            losses["loss"].backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), recipe.policy.fit.clip_norm)
            state.optimizer.step()
            state.step += 1


def arrays_of(episodes: Sequence[Episode], camera: str) -> StepArrays:
    """Return episodes in memory as a trainer reads them, with the pictures of a camera."""
    lengths_E = np.array([len(one.actions_TD) for one in episodes], np.int64)
    nothing = np.full((1, 7), np.nan, np.float32)
    return StepArrays(
        images_NHWC=np.concatenate([one.images_THWC if camera == MAIN else one.extra_images[camera] for one in episodes]),
        states_ND=np.concatenate([one.states_TD for one in episodes]),
        actions_ND=np.concatenate([part for one in episodes for part in (one.actions_TD, nothing)]),
        starts_E=np.cumsum(lengths_E + 1) - (lengths_E + 1),
        lengths_E=lengths_E,
        ids=tuple(one.id for one in episodes),
        instructions=tuple(one.instruction for one in episodes),
        probabilities_E=np.zeros(len(episodes)),
    )


def _joined(parts: Sequence[Transitions]) -> Transitions:
    fields = [field.name for field in dataclasses.fields(Transitions)]
    return Transitions(**{name: torch.cat([getattr(part, name) for part in parts]) for name in fields})
