"""Presets: every number of pre-training and improvement, in one YAML file under `configs/presets`.

`laptop` fits the simulator on two cores; `paper` and `upstream` hold what the paper and its released code say of the training
of policies, for larger machines.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from soar.collect.rollout import RolloutConfig
from soar.configuration import load
from soar.errors import ConfigError
from soar.policies.exploration import ExplorationConfig
from soar.tasks.proposal import ProposalConfig
from soar.training.flow_subgoals import SubgoalTrainingConfig
from soar.training.policy import PolicyTrainingConfig
from soar.training.vqa import VQATrainingConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainingConfig:
    """How the base models are made from nothing.

    Attributes:
        demonstration_worlds: Worlds in which the demonstrations of the policy are recorded.
        picture_worlds: Worlds in which the pictures and answers of the subgoal and VQA models are recorded.
        demonstration_seed: Of the worlds.
        picture_seed: Of the worlds.
        stray_worlds: Worlds in which the finished policy and subgoal model go astray; 0 leaves that and the correction out.
        stray_seed: Of the worlds.
        policy: Training of the policy.
        subgoal: Training of the subgoal model.
        correction: Its training after the first, on the attempts of its own too.
        sentences: Sentence encoder of the policy's counterpart that follows instructions, see `InstructionConfig`; "" for none.
        vqa: Training of the VQA model.
        validation_share: Of the demonstrations, held out of the policy's training.
    """

    policy: PolicyTrainingConfig
    subgoal: SubgoalTrainingConfig = field(default_factory=SubgoalTrainingConfig)
    correction: SubgoalTrainingConfig = field(default_factory=SubgoalTrainingConfig)
    sentences: str = ""
    vqa: VQATrainingConfig = field(default_factory=VQATrainingConfig)
    demonstration_worlds: int = 420
    picture_worlds: int = 240
    demonstration_seed: int = 1
    picture_seed: int = 2
    stray_worlds: int = 0
    stray_seed: int = 4
    validation_share: float = 0.03

    def __post_init__(self) -> None:
        if min(self.demonstration_worlds, self.picture_worlds) < 1:
            raise ConfigError("pretraining: demonstration_worlds and picture_worlds must be at least 1")
        if not 0 < self.validation_share < 1:
            raise ConfigError(f"pretraining.validation_share must lie between 0 and 1, got {self.validation_share}")

    @property
    def language(self) -> PolicyTrainingConfig:
        """Training of the policy's counterpart that follows instructions: the same on the same data."""
        return following_instructions(self.policy, self.sentences)


def following_instructions(config: PolicyTrainingConfig, sentences: str = "") -> PolicyTrainingConfig:
    """Return the same training of a policy that follows instructions (LCBC, paper §B.3) with that sentence encoder."""
    instruction = replace(config.network.instruction, encoder=sentences or config.network.instruction.encoder)
    return replace(config, network=replace(config.network, conditioning="language", instruction=instruction))


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionConfig:
    """How a round of autonomous episodes is collected.

    Attributes:
        episodes: Of all robots together.
        robots: How many there are, each with a table that is set once, when it begins; None for one a process.
        set_table_every: Attempts of a robot after which its table is set anew (only in simulation); 0 for never.
        exploration: How far actions stray from the policy's.
        threshold: Least probability at which the success detector says success.
        rollout: How long an episode is, whether a robot that stands still backs off, and whether success ends an attempt;
            evaluation's episodes are the same.
        watch_objects: Ask before each episode whether the objects are still there.
        proposal: How tasks are chosen.
    """

    episodes: int = 300
    robots: int | None = None
    set_table_every: int = 0
    exploration: ExplorationConfig = field(default_factory=ExplorationConfig)
    threshold: float = 0.5
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    watch_objects: bool = True
    proposal: ProposalConfig = field(default_factory=ProposalConfig)

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise ConfigError(f"collection.episodes must be at least 1, got {self.episodes}")
        if self.robots is not None and self.robots < 1:
            raise ConfigError(f"collection.robots must be at least 1, or null for one a process; got {self.robots}")
        if self.set_table_every < 0:
            raise ConfigError(f"collection.set_table_every must be at least 1, or 0 for never; got {self.set_table_every}")
        if not 0 < self.threshold < 1:
            raise ConfigError(f"collection.threshold must be between 0 and 1, both excluded; got {self.threshold}")
        if self.proposal.notify and not self.watch_objects:
            raise ConfigError(
                "collection.proposal.notify tells of objects that are missing, and nobody looks: set watch_objects: true"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ImprovementConfig:
    """One round of self-improvement, and how it is judged.

    Attributes:
        policy: Co-training, continued from the deployed policy.
        collection: What the robots do.
        cotraining_worlds: Worlds of the base's demonstrations that are recorded again to co-train on.
        success_only: Learn only from what was judged a success.
        threshold: Least probability of success of what is learned from. The label's own threshold may be lower: a label should
            miss no success, and what is imitated should be one.
        rounds: Of collection and training.
        trials: Of each task, in each evaluation.
    """

    policy: PolicyTrainingConfig
    collection: CollectionConfig = field(default_factory=CollectionConfig)
    cotraining_worlds: int = 60
    success_only: bool = True
    threshold: float = 0.0
    rounds: int = 1
    trials: int = 25

    def __post_init__(self) -> None:
        for name in ("cotraining_worlds", "rounds", "trials"):
            if getattr(self, name) < 1:
                raise ConfigError(f"improvement.{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.threshold < 1:
            raise ConfigError(f"improvement.threshold must be in 0..1, 1 excluded; got {self.threshold}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Everything; see the attributes' types.

    Attributes:
        pretraining: From nothing to the base models.
        improvement: From a base policy to a better one.
        workers: Processes that simulate.
    """

    pretraining: PretrainingConfig
    improvement: ImprovementConfig
    workers: int = 2

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ConfigError(f"workers must be at least 1, got {self.workers}")

    @property
    def image_size(self) -> int:
        """Height and width of all camera images [px]: the policy's."""
        return self.improvement.policy.network.image_size


def load_preset(name: str) -> Preset:
    """Load a preset by name or by the path of a YAML file.

    Raises:
        UnknownNameError: There is no such preset.
        ConfigError: A value is invalid; the message names the file and the key.
    """
    return load(Preset, "presets", name)
