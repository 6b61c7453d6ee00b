"""Propose the next task: ask which are feasible in this image, then let the selector choose (paper §B.1.1, equations 1–2).

The only state is how often each task was attempted. It follows from the instructions of past episodes, so a collector that
restarts passes those in and goes on as if it had never stopped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from soar.errors import ConfigError, UnknownNameError
from soar.tasks.answers import decide
from soar.tasks.selection import UCBSelector
from soar.types import Image, Task
from soar.vlm.base import Answer, VisionLanguageModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """The task to attempt, and why.

    Attributes:
        task: What to attempt.
        feasible: Instructions that the model considers feasible; undecidable ones are not among them.
        answers: The model's answer to each question that was asked.
        random: No task was feasible, so that a random one was taken.
    """

    task: Task
    feasible: tuple[str, ...]
    answers: dict[str, Answer]
    random: bool


class TaskProposer:
    """Proposes one of a scene's tasks at a time.

    Args:
        vlm: Answers the feasibility questions.
        tasks: The scene's tasks.
        selector: Chooses among the feasible ones.
        past: Instructions of the attempts so far, in any order; those of other tasks are ignored.
    """

    def __init__(
        self, vlm: VisionLanguageModel, tasks: Sequence[Task], selector: UCBSelector, past: Iterable[str] = ()
    ) -> None:
        if not tasks:
            raise ConfigError("the scene has no tasks: list at least one instruction under `tasks` in its YAML file")
        self._vlm, self._tasks, self._selector = vlm, {task.instruction: task for task in tasks}, selector
        seen = Counter(past)
        self._counts = {instruction: seen[instruction] for instruction in self._tasks}

    @property
    def counts(self) -> dict[str, int]:
        """Attempts of each task so far, by instruction."""
        return dict(self._counts)

    def propose(self, image_HWC: Image, off_limits: Collection[str] = ()) -> Proposal:
        """Return the next task for what the camera sees; asks each distinct question once, in one batch.

        Args:
            image_HWC: uint8 RGB.
            off_limits: Instructions that must not be attempted, see `PresenceChecker`. When that is all of them the model is
                trusted less than the robot is kept moving: a random task is attempted.
        """
        allowed = {name: task for name, task in self._tasks.items() if name not in off_limits}
        questions = list(dict.fromkeys(task.question for task in allowed.values()))
        replies = self._vlm.answer([image_HWC] * len(questions), questions) if questions else []
        answers = dict(zip(questions, replies, strict=True))
        feasible = tuple(name for name, task in allowed.items() if decide(answers[task.question]) is task.feasible_answer)
        counts = {name: self._counts[name] for name in allowed or self._tasks}
        chosen = self._selector.select(feasible, counts)
        return Proposal(task=self._tasks[chosen], feasible=feasible, answers=answers, random=not feasible)

    def record(self, task: Task) -> None:
        """Count one attempt at a task; an episode that a fault ended does not count.

        Raises:
            UnknownNameError: The task is not one of the scene's.
        """
        if task.instruction not in self._counts:
            raise UnknownNameError("task", task.instruction, self._counts)
        self._counts[task.instruction] += 1
