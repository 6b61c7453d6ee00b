"""One judge: a view (`soar.tasks.views`) and the model that answers; and what several of them say together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from soar.errors import ConfigError
from soar.tasks.evidence import Evidence
from soar.tasks.hand import holds_something
from soar.tasks.views import LAST, VIEWS, Ask, Film, View
from soar.types import Task
from soar.vlm.answer_parsing import SHOWN_NOTHING, decide
from soar.vlm.base import Answer, FilmModel, LanguageModel, VisionLanguageModel
from soar.vlm.oracle import OracleVLM

_PROBE_PX = 64


class Judge:
    """Judges films by one view and one model.

    Args:
        view: What it sees.
        vlm: Answers.
        threshold: Least probability that counts as success.

    Raises:
        ConfigError: The model is the simulator, which answers for now whatever picture it is shown.
    """

    def __init__(self, view: View, vlm: VisionLanguageModel, threshold: float) -> None:
        if isinstance(vlm, OracleVLM) and view.kind != LAST:
            raise ConfigError(f"the oracle knows the present alone, whatever it is shown: it sees {LAST}, not {view}")
        self.view, self._vlm, self._threshold = view, vlm, threshold

    @property
    def id(self) -> str:
        """The model's, and what it sees where that is not the last frame alone."""
        return self._vlm.id if str(self.view) == LAST else f"{self._vlm.id} sees {self.view}"

    def check(self) -> None:
        """See `soar.tasks.SuccessDetector.check`: asks about grey pictures where words do not say what a model can do."""
        view, vlm = self.view, self._vlm
        vlm.check()
        if view.several and not isinstance(vlm, FilmModel):
            raise ConfigError(
                f"{vlm.id} takes one picture a question, and {view} shows it {max(view.count, 2)}. A judge sees {VIEWS}; a "
                "model that takes several is one of `backend: openai` or `transformers` (docs/how-to/foundation-models.md)"
            )
        if not view.several and not (view.needs_probabilities and isinstance(vlm, LanguageModel)):
            return
        grey = np.full((_PROBE_PX, _PROBE_PX, 3), 128, np.uint8)
        count = max(view.count, 2) if view.several else 1
        question = "The robot has put the cup on the plate." if view.kind == "curve" else "Is there a cup on the plate?"
        ask = Ask(pictures=(grey,) * count, text=question, statement=view.kind == "curve")
        (answer,) = self._answers([ask])
        if answer.unreadable.startswith(SHOWN_NOTHING):
            raise ConfigError(f"{vlm.id} was shown {count} pictures, and says that it was shown none: {answer.text[:200]!r}")
        if view.needs_probabilities and chance(answer) is None:
            why = answer.no_probability or answer.unreadable or f"it said {answer.text[:80]!r}"
            raise ConfigError(
                f"{vlm.id} gave no probability ({why}), and {view} is made of them. Set `logprobs: true` in the model's file, "
                "or let it see what needs none: last, changed, twice:N, pair, film:N"
            )

    def frames(self, last: int) -> list[int]:
        """Return the frames that are looked at, increasing, those at which the hand is felt included."""
        felt = {max(0, last - 1), last} if self.view.let_go else set()
        return sorted(felt.union(self.view.frames(last)))

    def verdicts(self, films: Sequence[Film], tasks: Sequence[Task]) -> list[Evidence]:
        """Return what it says of each film, by one batched call of the model."""
        asks = [self.view.asks(film, task) for film, task in zip(films, tasks, strict=True)]
        answers = iter(self._answers([ask for some in asks for ask in some]))
        return [
            self._verdict(film, task, [next(answers) for _ in some])
            for film, task, some in zip(films, tasks, asks, strict=True)
        ]

    def _answers(self, asks: Sequence[Ask]) -> list[Answer]:
        texts = [ask.text for ask in asks]
        if not self.view.several:
            return self._vlm.answer([ask.pictures[0] for ask in asks], texts)
        if not isinstance(self._vlm, FilmModel):
            raise ConfigError(f"{self._vlm.id} takes one picture a question, and {self.view} shows it several")
        return self._vlm.answer_films([ask.pictures for ask in asks], texts, true_false=self.view.kind == "curve")

    def _verdict(self, film: Film, task: Task, answers: Sequence[Answer]) -> Evidence:
        view, done_is = self.view, self.view.kind == "curve" or not task.feasible_answer
        said = [decide(answer) for answer in answers]
        yes = [None if verdict is None else chance(answer) for verdict, answer in zip(said, answers, strict=True)]
        chances = [None if p is None else p if done_is else 1 - p for p in yes]
        done = [None if verdict is None else float(verdict is done_is) for verdict in said]
        success: bool | None = None
        probability = None
        if None not in chances:
            probability = view.probability([p for p in chances if p is not None])
            success = probability >= self._threshold
        elif None not in done and not view.needs_probabilities:
            certain = [d if p is None else p for p, d in zip(chances, done, strict=True)]
            success = view.probability([p for p in certain if p is not None]) >= self._threshold
        last = len(film) - 1
        if view.let_go and holds_something([film[frame] for frame in sorted({max(0, last - 1), last})]):
            success, probability = False, None if probability is None else 0.0
        return Evidence(
            judge=self.id,
            frames=tuple(view.frames(last)),
            probabilities=tuple(chances),
            answers=tuple(answer.text for answer in answers),
            success=success,
            probability=probability,
            curve=view.is_curve,
        )


def chance(answer: Answer) -> float | None:
    """Return the probability of yes; None when there is none, or what was given for one cannot be one."""
    return answer.p_yes if answer.p_yes is not None and 0 <= answer.p_yes <= 1 else None


def agreed(verdicts: Sequence[Evidence]) -> tuple[bool | None, float | None]:
    """Return what judges say together, and how likely success is by the least certain; None and None when they disagree."""
    said = {verdict.success for verdict in verdicts}
    if len(said) > 1 or None in said:
        return None, None
    (success,) = said
    chances = [verdict.probability for verdict in verdicts if verdict.probability is not None]
    if len(chances) < len(verdicts):
        return success, None
    return success, min(chances) if success else max(chances)
