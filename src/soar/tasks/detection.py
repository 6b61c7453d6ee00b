"""Did it work, and is everything still there? Two uses of the same yes/no questions (paper §B.1.2, §G)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from soar.errors import ConfigError
from soar.instruction_grammar import presence_question
from soar.types import Image, Label, Task
from soar.vlm.answer_parsing import decide
from soar.vlm.base import Answer, VisionLanguageModel

logger = logging.getLogger(__name__)


class SuccessDetector:
    """Judges an attempt by its final frame: it worked when the answer is the opposite of the one that means feasible.

    Args:
        vlm: Answers the task's question.
        threshold: Least probability of success that counts as success. Raising it trades recall for precision, which is the
            better side to err on: only what is judged successful is learned from.
        clock: Seconds since the Unix epoch.

    Raises:
        ConfigError: The threshold is not within (0, 1).
    """

    def __init__(self, vlm: VisionLanguageModel, threshold: float = 0.5, clock: Callable[[], float] = time.time) -> None:
        if not 0 < threshold < 1:
            raise ConfigError(f"the success detector's threshold must lie between 0 and 1, both excluded; got {threshold}")
        self._vlm, self._threshold, self._clock = vlm, threshold, clock

    def detect(self, image_HWC: Image, task: Task) -> Label:
        """Return the model's label for the final frame of an attempt; `success` is None when its answer is undecidable."""
        return self.detect_all([image_HWC], [task])[0]

    def detect_all(self, images: Sequence[Image], tasks: Sequence[Task]) -> list[Label]:
        """Return a label for each final frame, by one batched call of the model."""
        answers = self._vlm.answer(images, [task.question for task in tasks])
        return [self._label(answer, task) for answer, task in zip(answers, tasks, strict=True)]

    def _label(self, answer: Answer, task: Task) -> Label:
        verdict = decide(answer)
        success = None if verdict is None else verdict is not task.feasible_answer
        probability = None
        if answer.p_yes is not None and verdict is not None:
            probability = 1 - answer.p_yes if task.feasible_answer else answer.p_yes
            success = probability >= self._threshold
        return Label(
            success=success,
            probability=probability,
            source=self._vlm.id,
            question=task.question,
            answer=answer.text,
            time_s=self._clock(),
        )


def log_missing(name: str) -> None:
    """Say in the log that an object is missing."""
    logger.warning("%s is missing from the table; its tasks are off limits until it is back", name)


class PresenceChecker:
    """Watches for objects that fell off the table; the tasks that name a missing one are off limits (paper §G).

    Args:
        vlm: Answers "Is there a … on the table?".
        tasks: The scene's tasks; the objects that they name are watched.
        notify: Called with an object's name, once for each time that it disappears. Logs a warning by default.
        objects: Further ones to watch, which tasks may name that nobody has listed yet.
    """

    def __init__(
        self,
        vlm: VisionLanguageModel,
        tasks: Sequence[Task],
        notify: Callable[[str], None] = log_missing,
        *,
        objects: Sequence[str] = (),
    ) -> None:
        self._vlm, self._tasks, self._notify = vlm, tuple(tasks), notify
        self._objects = tuple(dict.fromkeys([*(name for task in tasks for name in task.objects), *objects]))
        self._missing: frozenset[str] = frozenset()

    @property
    def missing(self) -> frozenset[str]:
        """Objects that the last check did not find."""
        return self._missing

    def check(self, image_HWC: Image) -> frozenset[str]:
        """Look at the table and return the instructions that are off limits; an undecidable answer counts as present."""
        questions = [presence_question(name) for name in self._objects]
        answers = self._vlm.answer([image_HWC] * len(questions), questions) if questions else []
        missing = frozenset(name for name, answer in zip(self._objects, answers, strict=True) if decide(answer) is False)
        for name in self._objects:
            if name in missing and name not in self._missing:
                self._notify(name)
        self._missing = missing
        return frozenset(task.instruction for task in self._tasks if missing.intersection(task.objects))
