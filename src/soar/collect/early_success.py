"""Two looks that agree: an attempt ends when the judge has seen its success twice in a row.

One look at the end is wrong often, and what is done early can be undone until then. So the judge is asked every few steps:

    step    0        20    25    30 …
    look    undone?  –     done  done  ─► open, up, end

The task must look undone at the beginning, or no later look says anything. If that is asked for, no look says done while the
hand holds something: a thing that is held in the bowl, or above the table, has not been put there, and the robot feels what a
picture hardly shows. The attempt's label is the less certain look of the best pair in a row: its probability is at least
`threshold` exactly when two agreed, so that a filter of labels and the robot say the same. An attempt that ran to its end has
a last look there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from soar.errors import ConfigError
from soar.types import Image, Label, Observation

HOLDING = (0.08, 0.7)
"""Openings of a gripper that is stopped by what it holds; of one that moves, only one of two in a row lies between."""
_OPENING = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlySuccessConfig:
    """When the judge is asked, and what it must say.

    Attributes:
        every: Steps between two looks; 0 for no looks at all.
        first: Step of the first look after that at the beginning.
        threshold: Probability of success at which a look says done. Both looks of the pair must.
        undone: At the beginning the probability of success must be lower than this.
        let_go: Whether nothing is done while the hand holds something, be it at the end of an attempt without looks.
    """

    every: int = 0
    first: int = 20
    threshold: float = 0.85
    undone: float = 0.5
    let_go: bool = False

    def __post_init__(self) -> None:
        if self.every < 0 or self.first < 1:
            raise ConfigError(f"early_success: every must be at least 0 and first at least 1, got {self}")
        if not 0 < self.threshold < 1 or not 0 < self.undone <= 1:
            raise ConfigError(f"early_success: threshold must be within (0, 1) and undone within (0, 1], got {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the judge said of one frame.

    Attributes:
        step: Index of the frame.
        label: As the success detector made it.
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
        judge: Labels a frame; bound to the task: `lambda image: detector.detect(image, task)`.
        config: When it is asked, and what it must say.
        on_look: Called with each look.
    """

    def __init__(
        self, judge: Callable[[Image], Label], config: EarlySuccessConfig, on_look: Callable[[Look], None] | None = None
    ) -> None:
        self._judge, self._config, self._on_look = judge, config, on_look
        self._begins_undone = False
        self.looks: list[Look] = []

    def look(self, step: int, seen: Sequence[Observation]) -> bool:
        """Look at the last of what was seen until a step, if it is time to; return whether the attempt has succeeded.

        The first call must be that of step 0, the others with increasing steps. Of what was seen before, one is enough.
        """
        config = self._config
        if step and (step < config.first or (step - config.first) % config.every):
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
        pairs = zip(self.looks[1:-1], self.looks[2:], strict=True)
        weaker = [min(pair, key=lambda look: look.certainty) for pair in pairs]
        return max(weaker, key=lambda look: look.certainty, default=self.looks[-1]).label

    def _judged(self, seen: Sequence[Observation]) -> Label:
        label = self._judge(seen[-1].image_HWC)
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
            self._begins_undone
            and len(after) >= 2
            and all(look.label.success is not None and look.certainty >= self._config.threshold for look in after[-2:])
        )


def holds_something(seen: Sequence[Observation]) -> bool:
    """Whether the gripper is neither open nor closed in the last two observations; never when there is only one."""
    low, high = HOLDING
    return len(seen) >= 2 and all(low < observation.state[_OPENING] < high for observation in seen[-2:])


def no_success(label: Label) -> Label:
    """Return a label that says that it is not done, by the same judge."""
    return dataclasses.replace(label, success=False, probability=None if label.probability is None else 0.0)
