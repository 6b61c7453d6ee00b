"""What an experiment compares: scenes, variants, and how much of everything. Recipes are in `configs/reproduce`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from soar.collect.rollout import RolloutConfig
from soar.errors import ConfigError, UnknownNameError
from soar.policies.base import Conditioning
from soar.scenes import load_scene
from soar.training.cotraining import Judge
from soar.training.data import SourceConfig

DataSource = Literal["none", "pretraining", "autonomous", "in_scene"]
DIAL, NOTHING = "dial", "+nothing"
LABELS = 3
"""Labels that an episode gets of DIAL's labeller, of which variants take fewer."""
INSTRUCTIONS = ("", DIAL, DIAL + NOTHING, "simulator")
"""Who says what was done in an autonomous episode: nobody, so that what was commanded counts; DIAL's labeller, which may know
that nothing happened; or the simulator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """What one variant does differently.

    Attributes:
        data: What the base is trained on further, beside its pre-training data: `none` is not trained at all.
        conditioning: What the policy is told: a subgoal image (`goal`), the instruction itself (`language`: LCBC, paper §4), or
            `both`.
        pooled: One policy for all scenes: trained on the episodes of all of them, the paper's generalist.
        success_only: Learn from successes only.
        label: Whose judgement counts; the VLM's with the preset's `improvement.threshold`.
        share: Share of autonomous data in a batch; None leaves it to the preset's up-sampling and cap.
        steps: Of training; None leaves it to the preset.
        goal_window: Of autonomous data, in steps of an episode.
        imagined_goals: Share of the goals of autonomous data that are the subgoals which were pursued, as they were imagined.
        gripper_weight: How often moments of the gripper are drawn from the autonomous data, or from pre-training data alone.
        weigh_by_probability: Draw autonomous episodes in proportion to the judge's probability of success.
        sum_actions: Imitate the sum of two consecutive autonomous actions.
        drop_idle: Leave out idle steps.
        clean_grasps: Undo changes of the gripper's target that do not last, and leave out steps that lead to an empty grasp.
        balance_places: Draw autonomous episodes so that the places of their grasps are distributed as in pre-training.
        from_scratch: Begin with a fresh network and the pre-training budget instead of continuing.
        learner: What learns: imitation, or RoboFuME's actor and critics (from scratch, on failures, too).
        alpha: Of RoboFuME's critics; None leaves it to the recipe.
        instructions: Who says what was done in an autonomous episode: "" for what was commanded, `dial`, `dial+nothing` (it may
            be nothing), or `simulator` (the truth, for ablations).
        top_k: Of those, instructions an episode at most.
        min_p: Least probability of one.
        acts: A variant above, whose policy acts here, but among several actions somebody chooses. Nothing is trained.
        critic: The variant above, a RoboFuME, whose critics say what is good.
        choice: Who chooses: the critic, chance, or nobody.
        first_episodes: Learn from so many autonomous episodes of the scene, those that its robots made first; None for all.
        as_fast_as: The variant whose mean speed the actions are scaled to.
        after: A variant above, whose next round this is: its policy, that of the first training seed, collects as many episodes
            again in each scene, and learns from all until then.
        subgoals: `oracle` replaces the subgoal model in the evaluation; with `none` a policy that is told both gets the
            instruction alone.
        rollout: What happens in an episode of the evaluation; the experiment's by default.
    """

    data: DataSource
    conditioning: Conditioning = "goal"
    pooled: bool = False
    success_only: bool = True
    label: Judge = "vlm"
    share: float | None = None
    steps: int | None = None
    goal_window: tuple[int, int] | None = None
    imagined_goals: float | None = None
    gripper_weight: float | None = None
    weigh_by_probability: bool | None = None
    sum_actions: bool | None = None
    drop_idle: bool | None = None
    clean_grasps: bool | None = None
    balance_places: bool | None = None
    from_scratch: bool = False
    learner: Literal["imitation", "robofume"] = "imitation"
    alpha: float | None = None
    instructions: str = ""
    top_k: int = 1
    min_p: float = 0.0
    acts: str = ""
    critic: str = ""
    choice: Literal["critic", "random", "first"] = "critic"
    first_episodes: int | None = None
    as_fast_as: str = ""
    after: str = ""
    subgoals: Literal["", "oracle", "none"] = ""
    rollout: RolloutConfig | None = None

    def __post_init__(self) -> None:
        if self.share is not None and not 0 < self.share < 1:
            raise ConfigError(f"a variant's share of autonomous data must be between 0 and 1, both excluded; got {self.share}")
        if self.first_episodes is not None and (self.first_episodes < 1 or self.data != "autonomous" or self.pooled):
            raise ConfigError("a variant's first_episodes are at least 1, and of autonomous data of its scene: not pooled")
        if self.steps is not None and self.steps < 1:
            raise ConfigError(f"a variant's steps of training must be at least 1, got {self.steps}")
        if self.instructions not in INSTRUCTIONS:
            raise UnknownNameError("instructions", self.instructions, INSTRUCTIONS, "Of a variant.")
        if self.instructions and (self.data != "autonomous" or self.conditioning == "goal"):
            raise ConfigError("a variant's instructions are those of autonomous episodes, for a policy that follows them")
        if self.learner == "robofume" and (self.conditioning != "language" or self.data not in ("autonomous", "pretraining")):
            raise ConfigError("a variant with learner robofume has conditioning language, and data autonomous or pretraining")
        if self.subgoals == "none" and self.conditioning != "both":
            raise ConfigError("a variant without subgoals is told instructions, too: set its conditioning to both")
        if self.learner == "robofume" and self.data == "autonomous" and self.success_only:
            raise ConfigError("a variant with learner robofume learns from failures, too: set success_only to false")
        if bool(self.acts) != bool(self.critic) or (self.acts and self.data != "none"):
            raise ConfigError("a variant whose actions are chosen names who acts and whose critic it is, and has data none")
        if self.pooled and self.data not in ("autonomous", "pretraining"):
            raise ConfigError(
                f"a variant with data {self.data!r} cannot be pooled, only one with autonomous or pretraining data"
            )
        self._check_learner()

    @property
    def sampling(self) -> dict[str, Any]:
        """How autonomous data is imitated, as far as it is not the preset's: fields of `SourceConfig`."""
        said = {field.name: getattr(self, field.name, None) for field in dataclasses.fields(SourceConfig)}
        return {name: value for name, value in said.items() if value is not None}

    def _check_learner(self) -> None:
        """Refuse what the variant's learner has no use for."""
        if self.learner == "robofume" and self.instructions:
            raise ConfigError(
                f"a variant with learner robofume is judged by what was commanded: leave out instructions ({self.instructions})"
            )
        if self.learner == "robofume" and self.sampling:
            raise ConfigError(
                f"a variant with learner robofume has no use for {', '.join(self.sampling)}: they are of imitation"
            )
        if self.alpha is not None and self.learner != "robofume":
            raise ConfigError("a variant's alpha is of learner robofume")
        if self.alpha is not None and self.alpha < 0:
            raise ConfigError(f"a variant's alpha must not be negative, got {self.alpha}")
        if not 1 <= self.top_k <= LABELS or not 0 <= self.min_p < 1:
            raise ConfigError(
                f"a variant's top_k must lie between 1 and {LABELS}, the labels that an episode gets, and min_p between 0 and "
                f"1, 1 excluded; got {self.top_k} and {self.min_p}"
            )
        if (self.top_k, self.min_p) != (1, 0.0) and not self.instructions:
            raise ConfigError("top_k and min_p choose among a variant's instructions: say whose they are")


def _share_of(variant: Variant, budget: float) -> Variant:
    first = variant.first_episodes
    return variant if first is None else dataclasses.replace(variant, first_episodes=max(1, round(budget * first)))


def _can_go_on(first: Variant, second: Variant) -> bool:
    """Return whether the second could be the first, a round later."""
    autonomous = first.data == "autonomous" == second.data
    return autonomous and (first.pooled, first.conditioning) == (second.pooled, second.conditioning)


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """Variants on some scenes, see `configs/reproduce/*.yaml`.

    Attributes:
        scenes: Their names, or paths of their YAML files.
        episodes: Autonomous episodes collected in each scene.
        trials: In each scene and of each training seed, shared out over its tasks and rounded up.
        tasks: Instructions, some of the scenes': only they are attempted in the evaluations; all by default.
        baselines: Recipe of RoboFuME and of DIAL's labeller, see `configs/baselines`.
        first_trial: Index of the first start of each task; recipes are chosen on other starts than those of the figure.
        rollout: What happens in an episode, of collection as of evaluation; None leaves it to the preset.
        set_table_every: Attempts of a robot after which its table is set anew, 0 for never; None leaves it to the preset.
        training_seeds: Training runs of each trained variant.
        in_scene_worlds: Worlds of demonstrations (10 episodes each) recorded in each scene.
        episodes_of: The experiment in whose run folder it works, so that nothing is collected twice; its own by default.
        variants: By name.
    """

    scenes: tuple[str, ...]
    episodes: int
    trials: int
    first_trial: int = 0
    tasks: tuple[str, ...] = ()
    baselines: str = "laptop"
    rollout: RolloutConfig | None = None
    set_table_every: int | None = None
    training_seeds: int = 1
    in_scene_worlds: int = 1
    episodes_of: str = ""
    variants: Mapping[str, Variant] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("episodes", "trials", "training_seeds", "in_scene_worlds"):
            if getattr(self, name) < 1:
                raise ConfigError(f"experiment: {name} must be at least 1, got {getattr(self, name)}")
        if not self.scenes:
            raise ConfigError("experiment: name at least one scene")
        for name, variant in self.variants.items():
            if variant.as_fast_as and variant.as_fast_as not in self.variants:
                raise ConfigError(
                    f"variant {name!r}: as_fast_as names {variant.as_fast_as!r}, which is none of {', '.join(self.variants)}"
                )
            if (variant.first_episodes or 0) > self.episodes:
                raise ConfigError(
                    f"variant {name!r}: first_episodes ({variant.first_episodes}) are more than the {self.episodes} episodes "
                    "that are collected in a scene"
                )
        above: dict[str, Variant] = {}
        for name, variant in self.variants.items():
            if variant.acts:
                self._check_reranking(name, variant, above)
            alike = [other for other, one in above.items() if _can_go_on(one, variant)]
            if variant.after and variant.after not in alike:
                raise ConfigError(
                    f"variant {name!r}: after names {variant.after!r}, which is none of the variants above it that learn from "
                    f"autonomous data, pooled and conditioned alike: {', '.join(alike) or 'there is none'}"
                )
            above[name] = variant

    def _check_reranking(self, name: str, variant: Variant, above: Mapping[str, Variant]) -> None:
        critics = [other for other, one in above.items() if one.learner == "robofume"]
        acting = above.get(variant.acts)
        if variant.critic not in critics or acting is None or acting.acts or acting.as_fast_as:
            raise ConfigError(
                f"variant {name!r}: acts and critic name variants above it, the latter one with learner robofume "
                f"({', '.join(critics) or 'there is none'}); got {variant.acts!r} and {variant.critic!r}"
            )
        if acting.conditioning != variant.conditioning:
            raise ConfigError(f"variant {name!r}: conditioning must be that of {variant.acts!r}, {acting.conditioning}")

    def tasks_of(self, scene: str) -> tuple[str, ...]:
        """Return what is attempted in a scene.

        Raises:
            ConfigError: None of the experiment's tasks is one of the scene's.
        """
        known = tuple(task.instruction for task in load_scene(scene).tasks)
        chosen = tuple(task for task in known if not self.tasks or task in self.tasks)
        if not chosen:
            raise ConfigError(f"experiment: scene {scene} has none of its tasks; it has {', '.join(known)}")
        return chosen

    def collectors(self, variant: str) -> tuple[str, ...]:
        """Return the variants whose policies have collected for a variant, after the base, in order."""
        last = self.variants[variant].after
        return (*self.collectors(last), last) if last else ()

    def rounds(self) -> dict[str, int]:
        """Return the longest chain of rounds, the base first, with the episodes of a scene that each has learned from.

        It is empty when no variant is another's next round.
        """
        last = max(self.variants, key=lambda name: len(self.collectors(name)), default="")
        if not last or not self.variants[last].after:
            return {}
        told = self.variants[last].conditioning
        bases = [name for name, variant in self.variants.items() if variant == Variant(data="none", conditioning=told)]
        chain = [*self.collectors(last), last]
        return dict.fromkeys(bases, 0) | {name: (1 + index) * self.episodes for index, name in enumerate(chain)}

    def restricted(self, scenes: tuple[str, ...], variants: tuple[str, ...], budget: float) -> Experiment:
        """Return the experiment with some of its scenes and variants (all, if none are named) and a share of its budget.

        Args:
            scenes: Names among its scenes.
            variants: Names among its variants.
            budget: Factor of episodes and trials, above 0.

        Raises:
            UnknownNameError: It has no such scene or variant, or one of its tasks is none of its scenes'.
            ConfigError: The budget is not positive.
        """
        if not (math.isfinite(budget) and budget > 0):
            raise ConfigError(f"budget must be a positive number, got {budget}")
        for what, names, known in (("scene", scenes, self.scenes), ("variant", variants, tuple(self.variants))):
            for name in names:
                if name not in known:
                    raise UnknownNameError(what, name, known, "In this experiment.")
        attempted = {task.instruction for scene in self.scenes for task in load_scene(scene).tasks}
        for task in self.tasks:
            if task not in attempted:
                raise UnknownNameError("task", task, attempted, "In this experiment's scenes.")
        kept = {name: variant for name, variant in self.variants.items() if not variants or name in variants}
        return dataclasses.replace(
            self,
            scenes=scenes or self.scenes,
            variants={name: _share_of(variant, budget) for name, variant in kept.items()},
            episodes=max(1, round(budget * self.episodes)),
            trials=max(1, round(budget * self.trials)),
        )

    def trials_of_each_task(self, scene: str, untrained: bool = False) -> int:
        """Return how often each task of a scene is tried in an evaluation.

        What is not trained is one policy: it is tried from as many more starts, so that all variants have as many trials.
        """
        return -(-self.trials // len(self.tasks_of(scene))) * (self.training_seeds if untrained else 1)
