"""For each task the policy that has done it best: two policies that fail at different things are one that fails at fewer.

    told "put the carrot on the plate" ─► tasks says who ─► that policy acts, with images of goals or with the instruction

A YAML file makes it a policy like any other, on the computer where it acts; `soar policy choose` writes it from trials:

    backend: by-task
    otherwise: policies/goals             # acts in tasks that are not listed
    tasks:
      put the carrot on the plate: policies/words

A path is looked for beside the file, then where the command runs. The file names policies that act themselves, and no other
such file. Who acts is said by the instruction (`soar.policies.base.Instructed`) and stays for the episode. Until then
`conditioning` is `goal` if any of them reaches nothing else, or `both` if any takes those, so that a subgoal model is opened;
in an episode it is that of who acts.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from soar.base_models import policy_named
from soar.errors import ConfigError, SoarError
from soar.policies.base import Conditioning, Instructed, Policy, cameras_of
from soar.types import Goal, Observation
from soar.words import unknown_to

BACKEND = "by-task"


class _Opening(threading.local):
    """The file that a thread is opening."""

    path: Path | None = None


_opening = _Opening()


@dataclass(frozen=True, slots=True, kw_only=True)
class ByTaskConfig:
    """What the file says.

    Attributes:
        otherwise: Policy, as commands take it, for instructions that `tasks` does not have.
        tasks: Instruction to policy.
    """

    otherwise: str
    tasks: Mapping[str, str]


class PolicyByTask:
    """Lets one of several policies act.

    Args:
        otherwise: For instructions that are not in `tasks`.
        tasks: Instruction to policy.

    Raises:
        ConfigError: They look at different cameras.
    """

    def __init__(self, otherwise: Policy, tasks: Mapping[str, Policy]) -> None:
        self._all = list({policy.id: policy for policy in (otherwise, *tasks.values())}.values())
        if len(seen := {cameras_of(policy) for policy in self._all}) > 1:
            said = "; ".join(" and ".join(cameras) for cameras in sorted(seen))
            raise ConfigError(f"the policies of the tasks look at different cameras ({said}): choose among policies of one")
        self._otherwise, self._tasks = otherwise, dict(tasks)
        self._acting: Policy | None = None
        said = json.dumps([otherwise.id, sorted((task, policy.id) for task, policy in tasks.items())])
        self.id = f"by-task-{hashlib.sha256(said.encode()).hexdigest()[:8]}"

    @property
    def conditioning(self) -> Conditioning:
        """That of who acts; before an episode `goal`, or else `both`, if it is anybody's."""
        if self._acting is not None:
            return self._acting.conditioning
        all_told = {policy.conditioning for policy in self._all}
        return "goal" if "goal" in all_told else "both" if "both" in all_told else "language"

    @property
    def action_std(self) -> NDArray[np.float32]:
        """That of who acts otherwise, in all tasks: exploration is drawn for a robot, whatever the task is."""
        return self._otherwise.action_std

    @property
    def image_size(self) -> int | None:
        """The largest, so that nobody sees less than alone."""
        return max((policy.image_size for policy in self._all if policy.image_size is not None), default=None)

    @property
    def cameras(self) -> Sequence[str]:
        """Theirs."""
        return cameras_of(self._otherwise)

    def acts(self, instruction: str) -> Policy:
        """Return who acts for an instruction."""
        return self._tasks.get(instruction, self._otherwise)

    def unknown_words(self, text: str) -> Sequence[str] | None:
        """Return what the one that is for this instruction does not know of it."""
        return unknown_to(self.acts(text), text)

    def instruct(self, instruction: str) -> None:
        """Let the one that is for this instruction act."""
        self._acting = self.acts(instruction)
        if isinstance(self._acting, Instructed):
            self._acting.instruct(instruction)

    def reset(self) -> None:
        """Forget the last episode, and who acted in it."""
        self._acting = None
        for policy in self._all:
            policy.reset()

    def act(self, observations: Sequence[Observation], goals: Sequence[Goal]) -> NDArray[np.float32]:
        """Return the actions (B, 7) of who acts; before anybody was told anything, of who acts otherwise."""
        return (self._acting or self._otherwise).act(observations, goals)


def file_of(otherwise: str, tasks: Mapping[str, str]) -> str:
    """Return the text of a policy's file."""
    said = {"backend": BACKEND, "otherwise": otherwise, "tasks": dict(tasks)}
    return yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=1000)


def load_by_task(config: ByTaskConfig, path: Path, load: Callable[[str], Policy]) -> PolicyByTask:
    """Open what a file names.

    Args:
        config: What the file says.
        path: Of the file.
        load: Opens a policy by its name.

    Raises:
        ConfigError: One of them cannot be opened, is chosen by the task itself, or they do not go together.
    """
    if _opening.path is not None:
        raise ConfigError(f"{path} is named by {_opening.path}, which chooses by the task already: name policies that act")

    def opened(key: str, name: str) -> Policy:
        if not name:
            raise ConfigError(f"{path}: {key} names no policy")
        beside = os.path.join(path.parent, name)
        try:
            return load(beside if os.path.exists(beside) else policy_named(name))
        except SoarError as error:
            raise ConfigError(f"{path}: {key}: {error}") from error

    _opening.path = path
    try:
        tasks = {task: opened(f"tasks.{task}", name) for task, name in config.tasks.items()}
        return PolicyByTask(opened("otherwise", config.otherwise), tasks)
    finally:
        _opening.path = None
