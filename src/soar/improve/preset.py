"""Presets: every number of pre-training and improvement, in one YAML file under `configs/presets`.

`laptop` fits the simulator on two cores; `paper` and `upstream` hold what the paper and its released code say of the training
of policies, for larger machines. A preset of one's own says only what is different: `extends: laptop`, and the rest.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from soar.collect.config import CollectionConfig
from soar.configuration import layers, load, setting
from soar.errors import ConfigError
from soar.pretraining.config import PretrainingConfig
from soar.training.config import PolicyTrainingConfig
from soar.training.external import ExternalLearnerConfig


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
        learner: A command that learns instead, see `soar.training.external`; None: `policy` says how our networks do.
    """

    policy: PolicyTrainingConfig
    collection: CollectionConfig = field(default_factory=CollectionConfig)
    cotraining_worlds: int = 60
    success_only: bool = True
    threshold: float = 0.0
    rounds: int = 1
    trials: int = 25
    learner: ExternalLearnerConfig | None = None

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


def load_preset(name: str, settings: Sequence[str] = ()) -> Preset:
    """Load a preset by name or by the path of a YAML file; it may extend another one (`extends: laptop`).

    Args:
        name: Its name, or the path.
        settings: Values that count more, such as `improvement.collection.exploration.sigma=0.5`.

    Raises:
        UnknownNameError: There is no such preset.
        ConfigError: A value is invalid; the message names the file and the key.
    """
    return load(Preset, "presets", name, settings)


def explained(name: str, settings: Sequence[str] = ()) -> str:
    """Return all values of a preset as YAML, each with where it comes from: a file, the command line, or a default."""
    values = json.loads(json.dumps(dataclasses.asdict(load_preset(name, settings))))
    parts = [(Path(path).name, said) for path, said in layers("presets", name)]
    parts += [("command line", setting(text)) for text in settings]
    return "\n".join(_lines(values, parts)) + "\n"


def _lines(values: dict[str, Any], parts: list[tuple[str, Any]], indent: str = "") -> Iterator[str]:
    for key, value in values.items():
        saying = [(source, said[key]) for source, said in parts if isinstance(said, dict) and key in said]
        if isinstance(value, dict) and value:
            yield f"{indent}{key}:"
            yield from _lines(value, saying, indent + "  ")
        else:
            text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=1000).partition("\n...")[0].strip()
            yield f"{indent}{key}: {text}  # {saying[-1][0] if saying else 'default'}"
