"""What a judge sees of an attempt, named by one text: `last`, `looks:21/let-go`, `last+film:8@vlm.yaml`.

The film of an attempt of T actions has the frames 0 … T; a view with a number N takes N of them, evenly from the first to the
last. An answer about a picture says how likely the task is done in it.

    a question about one picture each                                                     questions
        last       the last frame                                                         1
        changed    the first and the last: the first must look undone                     2
        twice:N    the less certain of the best two in a row; the first must look undone  N
        looks:N    the mean over the last three                                           N
        rise:N     the same, less what the first frame looked like                        N
    a question about several pictures, for models that take them
        pair       the first and the last frame                                           1
        film:N     N frames                                                               1
        curve:N    the frames until each of the N: is it true that they show the task     N
                   being completed? The mean of the last three (TOPReward, arXiv 2602.19313, with True against False in a chat)

`VIEW/let-go` never says done while the hand holds something in the last two frames. `VIEW@MODEL` asks another model than the
one that is named where the judge is. Two judges joined by `+` must agree: where they do not, it is undecidable.

`looks`, `rise` and `curve` need probabilities, and an answer that has none makes the attempt undecidable.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from soar.errors import ConfigError
from soar.types import Image, Observation, Task

LAST = "last"
LET_GO = "/let-go"
UNDONE = 0.5
"""At the first frame the probability of success must be lower than this, where the first frame must look undone."""
MOST = 64
"""Frames of a film that are looked at."""
_PLAIN = ("last", "changed", "pair")
_COUNTED = ("twice", "looks", "rise", "film", "curve")
_SEVERAL = ("pair", "film", "curve")
_CURVES = ("twice", "looks", "rise", "curve")
_PART = re.compile(r"(?P<kind>[a-z]+)(?::(?P<count>\d+))?(?P<let_go>/let-go)?(?:@(?P<model>.+))?")
_JOINED = re.compile(rf"\s*\+\s*(?=(?:{'|'.join((*_PLAIN, *_COUNTED))})(?:[:/@+]|$))")
VIEWS = "last, changed, twice:N, looks:N, rise:N (of one picture a question); pair, film:N, curve:N (of several)"


class Film(Protocol):
    """What was seen of an attempt, from the first frame to the last; a film that is stored may lack what is not asked for."""

    def __len__(self) -> int:
        """How many frames there are."""
        ...

    def __getitem__(self, index: int) -> Observation:
        """Return a frame, and the state that belongs to it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One question to a model.

    Attributes:
        pictures: What it is about.
        text: The question.
        statement: Whether it is a statement that may be true, instead.
    """

    pictures: tuple[Image, ...]
    text: str
    statement: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What one judge sees.

    Attributes:
        kind: See the module's docstring.
        count: N, 0 where there is none.
        let_go: Whether the hand has a say.
        model: Name of another model; empty for none.
    """

    kind: str
    count: int = 0
    let_go: bool = False
    model: str = ""

    def __str__(self) -> str:
        """The view as it is named, without the model."""
        return self.kind + (f":{self.count}" if self.count else "") + (LET_GO if self.let_go else "")

    @property
    def name(self) -> str:
        """The text that names it, with the model."""
        return str(self) + (f"@{self.model}" if self.model else "")

    @property
    def several(self) -> bool:
        """Whether a question is about several pictures."""
        return self.kind in _SEVERAL

    @property
    def is_curve(self) -> bool:
        """Whether it says how likely success was at frames in between."""
        return self.kind in _CURVES

    @property
    def needs_probabilities(self) -> bool:
        """Whether words alone say nothing."""
        return self.kind in ("looks", "rise", "curve")

    def frames(self, last: int) -> list[int]:
        """Return the frames that are looked at, increasing, of a film whose last frame has this index."""
        if self.kind == LAST:
            return [last]
        count = self.count or 2
        return sorted({round(frame) for frame in np.linspace(0, last, count).tolist()})

    def cost(self, last: int) -> tuple[int, int]:
        """Return how many questions about how many pictures a film costs."""
        count = len(self.frames(last))
        if self.kind == "curve":
            return count, count * (count + 1) // 2
        return (1, count) if self.several else (count, count)

    def asks(self, film: Film, task: Task) -> list[Ask]:
        """Return what is asked of a film; of a view of one picture each, a question a frame."""
        frames = self.frames(len(film) - 1)
        pictures = tuple(film[frame].image_HWC for frame in frames)
        if not self.several:
            return [Ask(pictures=(picture,), text=task.question) for picture in pictures]
        if self.kind == "curve":
            return [Ask(pictures=pictures[: end + 1], text=_statement(task), statement=True) for end in range(len(pictures))]
        order = "before and after" if self.kind == "pair" else "in their order, of"
        text = f"The pictures were taken {order} a robot's attempt to do this: {task.instruction}. "
        return [Ask(pictures=pictures, text=f"{text}Judge by the last picture: {task.question}")]

    def probability(self, chances: Sequence[float]) -> float:
        """Return the probability of success, from that at each frame (`film`, `pair`: of all frames together)."""
        if self.kind in ("changed", "twice") and chances[0] >= UNDONE:
            return 0.0
        if self.kind == "twice":
            after = chances[1:] or chances
            return max(map(min, after, after[1:]), default=after[-1])
        if self.kind in ("looks", "rise", "curve"):
            end = sum(chances[-3:]) / len(chances[-3:])
            return max(0.0, end - chances[0]) if self.kind == "rise" else end
        return chances[-1]


def _statement(task: Task) -> str:
    return (
        "The pictures above show, in their order, how a robot carries out this task until it is completed: "
        f"{task.instruction}. Decide whether this statement is True or not."
    )


def read_views(sees: str) -> tuple[View, ...]:
    """Return what judges see that are named by a text: one, or those that must agree.

    Raises:
        ConfigError: It names none; the message lists them.
    """
    return tuple(_view(part.strip(), sees) for part in _JOINED.split(sees))


def with_let_go(sees: str) -> str:
    """Return the same judges, each of which heeds the hand.

    Raises:
        ConfigError: The text names no judge.
    """
    return "+".join(replace(view, let_go=True).name for view in read_views(sees))


def _view(part: str, sees: str) -> View:
    found = _PART.fullmatch(part)
    kind, count = (found["kind"], int(found["count"] or 0)) if found else ("", 0)
    if found is None or kind not in (*_PLAIN, *_COUNTED):
        raise ConfigError(
            f"a judge sees {VIEWS}; got {sees!r}. {LET_GO} and @MODEL may follow one, and two joined by + must agree"
        )
    if kind in _COUNTED and not 2 <= count <= MOST:
        raise ConfigError(f"a judge that sees {kind} needs a number of frames, {kind}:2 to {kind}:{MOST}; got {sees!r}")
    if kind in _PLAIN and found["count"] is not None:
        raise ConfigError(f"a judge that sees {kind} takes no number; got {sees!r}. With one: {', '.join(_COUNTED)}")
    return View(kind=kind, count=count, let_go=found["let_go"] is not None, model=found["model"] or "")
