"""How autonomous episodes are collected."""

from __future__ import annotations

from dataclasses import dataclass, field

from soar.collect.rollout import RolloutConfig
from soar.errors import ConfigError
from soar.policies.exploration import ExplorationConfig
from soar.tasks.proposal import ProposalConfig
from soar.tasks.views import LAST, read_views


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectConfig:
    """How episodes are collected.

    Attributes:
        rollout: How long an episode is, whether a robot that stands still backs off, and whether success ends an attempt.
        reboots: Attempts at recovering the robot before giving up.
        drops: Episodes dropped in a row before giving up.
    """

    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    reboots: int = 10
    drops: int = 20

    def __post_init__(self) -> None:
        if self.reboots < 1 or self.drops < 1:
            raise ConfigError(f"collect: reboots and drops must be at least 1, got {self.reboots} and {self.drops}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionConfig:
    """How a round of autonomous episodes is collected.

    Attributes:
        episodes: Of all robots together.
        robots: How many simulated ones there are, each with a table that is set once, when it begins.
        set_table_every: Attempts of a robot after which its table is set anew (where the workcell can); 0 for never.
        exploration: How far actions stray from the policy's.
        threshold: Least probability at which the success detector says success.
        sees: What the success detector sees of an attempt, see `soar.tasks.views`; the last frame by default.
        rollout: How long an episode is, whether a robot that stands still backs off, and whether success ends an attempt;
            evaluation's episodes are the same.
        watch_objects: Ask before each episode whether the objects are still there.
        proposal: How tasks are chosen.
    """

    episodes: int = 300
    robots: int = 2
    set_table_every: int = 0
    exploration: ExplorationConfig = field(default_factory=ExplorationConfig)
    threshold: float = 0.5
    sees: str = LAST
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    watch_objects: bool = True
    proposal: ProposalConfig = field(default_factory=ProposalConfig)

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise ConfigError(f"collection.episodes must be at least 1, got {self.episodes}")
        if self.robots < 1:
            raise ConfigError(f"collection.robots must be at least 1, got {self.robots}")
        if self.set_table_every < 0:
            raise ConfigError(f"collection.set_table_every must be at least 1, or 0 for never; got {self.set_table_every}")
        if not 0 < self.threshold < 1:
            raise ConfigError(f"collection.threshold must be between 0 and 1, both excluded; got {self.threshold}")
        read_views(self.sees)
        if self.proposal.notify and not self.proposal.notify.startswith(("http://", "https://")):
            raise ConfigError(
                f"collection.proposal.notify must be the http:// or https:// URL of a webhook, got {self.proposal.notify!r}"
            )
