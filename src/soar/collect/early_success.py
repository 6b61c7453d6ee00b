"""An attempt ends when the judge has seen its success: twice in a row, or where a subgoal is over.

One look at the end is wrong often, and what is done early can be undone until then. So the judge is asked every few steps:

    step    0        20    25    30 …
    look    undone?  –     done  done  ─► open, up, end

Or it is asked where a subgoal is over, before the next one is imagined (`every: subgoal`). The next look would be a whole
subgoal later, so that one that says done is enough:

    step    0        20    40  …
    look    undone?  –     done  ─► open, up, end

A policy that follows instructions is asked about at the same steps; it only gets no images.

The task must look undone at the beginning, or no later look says anything. If that is asked for, no look says done while the
hand holds something: a thing that is held in the bowl, or above the table, has not been put there, and the robot feels what a
picture hardly shows. The attempt's label is the less certain look of the best pair in a row: its probability is at least
`threshold` exactly when two agreed, so that a filter of labels and the robot say the same. With looks at subgoals it is the
last one. An attempt that ran to its end has a last look there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from soar.errors import ConfigError
from soar.tasks.hand import holds_something, no_success
from soar.types import Label, Observation

AT_SUBGOALS: Literal["subgoal"] = "subgoal"
"""Looks come where a subgoal is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlySuccessConfig:
    """When the judge is asked, and what it must say.

    Attributes:
        every: Steps between two looks, of which two in a row must say done; `subgoal` for one look at the end of each subgoal,
            which is enough alone; 0 for no looks at all.
        first: Step of the first look after that at the beginning, at the earliest.
        threshold: Probability of success at which a look says done.
        undone: At the beginning the probability of success must be lower than this.
        let_go: Whether nothing is done while the hand holds something, be it at the end of an attempt without looks.
    """

    every: int | Literal["subgoal"] = 0
    first: int = 20
    threshold: float = 0.85
    undone: float = 0.5
    let_go: bool = False

    def __post_init__(self) -> None:
        if self.every != AT_SUBGOALS and (isinstance(self.every, str) or self.every < 0):
            raise ConfigError(
                f"early_success: every is a number of steps, {AT_SUBGOALS} (where each subgoal is over), or 0 for no looks; "
                f"got {self.every!r}"
            )
        if self.first < 1:
            raise ConfigError(f"early_success: first must be at least 1, got {self.first}")
        if not 0 < self.threshold < 1 or not 0 < self.undone <= 1:
            raise ConfigError(f"early_success: threshold must be within (0, 1) and undone within (0, 1], got {self}")

    @property
    def looks(self) -> bool:
        """Whether anybody looks on the way."""
        return self.every != 0

    @property
    def at_subgoals(self) -> bool:
        """Whether looks come where a subgoal is over, and not every few steps."""
        return self.every == AT_SUBGOALS


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the judge said at one frame.

    Attributes:
        step: Index of the frame.
        label: As the success detector made it, of the film until then.
    """

    step: int
    label: Label

    @property
    def certainty(self) -> float:
        """Probability of success; 1 or 0 from a judge that gives none, 0 from one that cannot decide."""
        if self.label.success is None:
            return 0.0
        return float(self.label.success) if self.label.probability is None else self.label.probability


class EarlySuccess:
    """Looks at one attempt.

    Args:
        judge: Labels what was seen so far; bound to the task: `lambda film: detector.judge(film, task)`.
        config: When it is asked, and what it must say.
        on_look: Called with each look.
    """

    def __init__(
        self,
        judge: Callable[[Sequence[Observation]], Label],
        config: EarlySuccessConfig,
        on_look: Callable[[Look], None] | None = None,
    ) -> None:
        self._judge, self._config, self._on_look = judge, config, on_look
        self._needed = 1 if config.at_subgoals else 2
        self._begins_undone = False
        self.looks: list[Look] = []

    def look(self, step: int, seen: Sequence[Observation]) -> bool:
        """Look at the last of what was seen until a step, if it is time to; return whether the attempt has succeeded.

        The first call must be that of step 0, the others with increasing steps: all of them, or with looks at subgoals those at
        which one is over. Of what was seen before, as much is needed as the judge looks at, and one observation for the hand.
        """
        every, since_first = self._config.every, step - self._config.first
        if step and (since_first < 0 or (not isinstance(every, str) and since_first % every)):
            return False
        return self._look(step, seen)

    def label(self, step: int, seen: Sequence[Observation]) -> Label:
        """Return the label of an attempt that ended with the last of this; it is looked at unless success ended it."""
        if not self.looks:
            return self._judged(seen)
        if not self._agree() and self.looks[-1].step < step:
            self._look(step, seen)
        if not self._begins_undone:
            return no_success(self.looks[-1].label)  # nothing was seen to change
        if self._needed == 1:
            return self.looks[-1].label
        pairs = zip(self.looks[1:-1], self.looks[2:], strict=True)
        weaker = [min(pair, key=lambda look: look.certainty) for pair in pairs]
        return max(weaker, key=lambda look: look.certainty, default=self.looks[-1]).label

    def _judged(self, seen: Sequence[Observation]) -> Label:
        label = self._judge(seen)
        return no_success(label) if self._config.let_go and holds_something(seen) else label

    def _look(self, step: int, seen: Sequence[Observation]) -> bool:
        look = Look(step=step, label=self._judged(seen))
        self.looks.append(look)
        if self._on_look is not None:
            self._on_look(look)
        if step == 0:
            first = self.looks[0]
            # A judge that cannot decide has not said that it is undone.
            self._begins_undone = first.label.success is not None and first.certainty < self._config.undone
        return self._agree()

    def _agree(self) -> bool:
        after = self.looks[1:]
        return (
            self._begins_undone and len(after) >= self._needed and all(self._says_done(look) for look in after[-self._needed :])
        )

    def _says_done(self, look: Look) -> bool:
        return look.label.success is not None and look.certainty >= self._config.threshold
