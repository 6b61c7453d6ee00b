"""Who learns in a run: our networks by imitation, or a command of somebody else's; and what either can begin with."""

from __future__ import annotations

import os
from pathlib import Path

from soar.errors import ConfigError
from soar.improve.config import ImproveConfig, holds_network
from soar.nn.model_files import copy_model
from soar.policies.lineage import Lineage
from soar.policies.loading import load_policy
from soar.policies.named import Named, write_named
from soar.references import is_reference
from soar.remote.wire import is_url
from soar.robots.workcell import load_workcell
from soar.training.external import ExternalLearner
from soar.training.learner import ImitationLearner, Learner


def learner_of(config: ImproveConfig) -> Learner:
    """Return what makes a run's candidates."""
    improvement = config.preset.improvement
    if improvement.learner is None:
        return ImitationLearner(improvement.policy)
    cell = load_workcell(config.workcell)
    return ExternalLearner(improvement.learner, cell.robot.limits, cell.workspace)


def checked_base(config: ImproveConfig) -> str:
    """Return the id of the policy that a run begins with.

    Raises:
        CheckpointError: It cannot be trained, or its lineage is damaged.
        ConfigError: It is to learn, and is none of SOAR's networks.
    """
    name, improvement = config.models.policy, config.preset.improvement
    ours = holds_network(name)
    if improvement.learner is not None or (config.learner is not None and not ours):
        return load_policy(name).id
    if not ours and (is_url(name) or is_reference(name) or os.path.exists(name)):
        raise ConfigError(
            f"policy {name} is no folder of a network of SOAR's, so that nothing here can train it. Let another policy learn "
            "from what it collects (--learner language, or a folder), or a command of yours (`improvement.learner` in a "
            "preset: docs/how-to/your-policy.md)"
        )
    return ImitationLearner(improvement.policy).check(Path(name))


def checked_learner(config: ImproveConfig) -> str | None:
    """Return the id of the other policy that learns, which the training can go on from; None: there is none.

    Raises:
        CheckpointError: It cannot.
    """
    recipe = config.preset.improvement.policy
    return None if config.learner is None else ImitationLearner(recipe).check(Path(config.learner))


def checked_collector(config: ImproveConfig) -> str | None:
    """Return the id of the policy that collects, whatever is deployed; None: who is deployed does.

    Raises:
        SoarError: It cannot be loaded.
    """
    return None if config.collector is None else load_policy(config.collector).id


def keep_policy(name: str, folder: Path) -> None:
    """Keep in a folder of a run what it begins with: a copy of a network, or the name of somebody else's policy and its id.

    Args:
        name: See `soar.policies.loading`.
        folder: Of the run.

    Raises:
        SoarError: A file cannot be read or written.
    """
    source = Path(name)
    if holds_network(name):
        copy_model(source, folder)
        return
    whole = str(source.absolute()) if source.exists() else name
    id = load_policy(name).id
    write_named(Named(id=id, behind=id, name=whole, folder=folder), Lineage())
