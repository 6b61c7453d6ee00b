"""Did it work, and is everything still there? Two uses of the same yes/no questions (paper §B.1.2, §G).

A `SuccessDetector` judges the film of an attempt by what its view sees of it (`soar.tasks.views`), by default the last frame.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

import numpy as np

from soar.errors import ConfigError
from soar.instruction_grammar import presence_question
from soar.tasks.evidence import written
from soar.tasks.judges import Judge, agreed
from soar.tasks.views import LAST, Film, View, read_views
from soar.types import STATE_DIM, Image, Label, Observation, Task
from soar.vlm.answer_parsing import decide
from soar.vlm.base import VisionLanguageModel
from soar.vlm.loading import load_vlm

logger = logging.getLogger(__name__)
_NO_STATE = np.zeros(STATE_DIM, np.float32)


class SuccessDetector:
    """Judges an attempt: it worked when the answer is the opposite of the one that means feasible.

    Args:
        vlm: Answers the task's question.
        threshold: Least probability of success that counts as success. Raising it trades recall for precision, which is the
            better side to err on: only what is judged successful is learned from.
        clock: Seconds since the Unix epoch.
        sees: What it sees of an attempt, see `soar.tasks.views`.

    Raises:
        ConfigError: The threshold is not within (0, 1), `sees` names no view, or the model cannot have that one.
        CheckpointError: A model that `sees` names cannot be loaded.
    """

    def __init__(
        self,
        vlm: VisionLanguageModel,
        threshold: float = 0.5,
        clock: Callable[[], float] = time.time,
        *,
        sees: str = LAST,
    ) -> None:
        if not 0 < threshold < 1:
            raise ConfigError(f"the success detector's threshold must lie between 0 and 1, both excluded; got {threshold}")
        self._vlm, self._threshold, self._clock = vlm, threshold, clock
        self._judges = tuple(Judge(view, load_vlm(view.model) if view.model else vlm, threshold) for view in read_views(sees))

    @property
    def id(self) -> str:
        """What its labels name as their source."""
        return " + ".join(judge.id for judge in self._judges)

    def check(self) -> None:
        """Let the models say what is wrong, and whether they can see what they shall, before any robot moves.

        Raises:
            ConfigError: A model takes one picture and shall see several, or gives no probabilities where they are needed.
            ModelServerError: A server does not answer.
        """
        for judge in self._judges:
            judge.check()

    def frames(self, last: int) -> list[int]:
        """Return the frames of a film that are looked at, increasing; `last` is the index of its last one."""
        return sorted({frame for judge in self._judges for frame in judge.frames(last)})

    def cost(self, last: int) -> tuple[int, int]:
        """Return how many questions about how many pictures a film costs."""
        costs = [judge.view.cost(last) for judge in self._judges]
        return sum(questions for questions, _ in costs), sum(pictures for _, pictures in costs)

    def detect(self, image_HWC: Image, task: Task) -> Label:
        """Return the model's label for what one picture shows, whatever `sees` says; `success` is None when undecidable."""
        return self.detect_all([image_HWC], [task])[0]

    def detect_all(self, images: Sequence[Image], tasks: Sequence[Task]) -> list[Label]:
        """Return a label for each picture, by one batched call of the model."""
        films = [[Observation(image_HWC=image, state=_NO_STATE)] for image in images]
        return self._labels(films, tasks, (Judge(View(kind=LAST), self._vlm, self._threshold),))

    def judge(self, film: Film, task: Task) -> Label:
        """Return the label of an attempt, from its film until now; `success` is None when it is undecidable."""
        return self.judge_all([film], [task])[0]

    def judge_all(self, films: Sequence[Film], tasks: Sequence[Task]) -> list[Label]:
        """Return a label for each film, by one batched call of each model."""
        return self._labels(films, tasks, self._judges)

    def _labels(self, films: Sequence[Film], tasks: Sequence[Task], judges: tuple[Judge, ...]) -> list[Label]:
        verdicts = zip(*(judge.verdicts(films, tasks) for judge in judges), strict=True)
        source, now_s = " + ".join(judge.id for judge in judges), self._clock()
        plain = len(judges) == 1 and judges[0].view.kind == LAST
        labels = []
        for task, found in zip(tasks, verdicts, strict=True):
            success, probability = agreed(found)
            answer = found[0].answers[0] if plain else written(found)
            labels.append(
                Label(
                    success=success,
                    probability=probability,
                    source=source,
                    question=task.question,
                    answer=answer,
                    time_s=now_s,
                )
            )
        return labels


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
