"""What a preset says of collecting, for a robot's computer: nothing that trains is imported (see `soar.improve.preset`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from soar.collect.config import CollectionConfig
from soar.configuration import load
from soar.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class _Improvement:
    """The part of `soar.improve.preset.ImprovementConfig` that is read here; the rest is somebody else's to check."""

    collection: CollectionConfig = field(default_factory=CollectionConfig)
    policy: Any = None
    cotraining_worlds: Any = None
    success_only: Any = None
    threshold: Any = None
    rounds: Any = None
    trials: Any = None
    learner: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionPreset:
    """What a preset says of collecting.

    Attributes:
        improvement: Its `collection` is how episodes are collected.
        workers: Processes that simulate.
        pretraining: Not read.
    """

    improvement: _Improvement = field(default_factory=_Improvement)
    workers: int = 2
    pretraining: Any = None

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ConfigError(f"workers must be at least 1, got {self.workers}")


def load_collection(name: str, settings: Sequence[str] = ()) -> CollectionPreset:
    """Load what a preset says of collecting, by name or by the path of a YAML file.

    Args:
        name: Its name, or the path.
        settings: Values that count more, such as `improvement.collection.exploration.sigma=0.5`.

    Raises:
        UnknownNameError: There is no such preset, or a key is unknown.
        ConfigError: A value is invalid; the message names the file and the key.
    """
    return load(CollectionPreset, "presets", name, settings)
