"""Answers from the simulator's own truth, with the paper's noise (§D). For tests and ablations only: no robot has this.

The noise is on "yes". With a base rate b of true statements, true ones get "yes" with probability r (the recall) and false ones
with probability r · b · (1 − p) / (p · (1 − b)), so that a share p of all "yes" is right (the precision). The paper's detector
has r = 1, p = 0.63 and is right on 78.87 % of the episodes, which makes b = 0.36. For a task that has succeeded when the answer
is "no" (remove it from the bowl), the same noise hides successes instead of inventing them.

Like a frozen model, it says the same of the same image again: the noise is a function of seed, image and question.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

from soar.errors import ConfigError
from soar.seeding import generator
from soar.types import Image
from soar.vlm.base import Answer

PAPER_PRECISION = 0.63
PAPER_BASE_RATE = 0.36


class OracleVLM:
    """A vision-language model that asks the simulator, for tests and ablations (see `soar.vlm.base.VisionLanguageModel`).

    Args:
        truth: Answers a question about the simulator's present state; None when it cannot.
        recall: Share of the true statements that get "yes".
        precision: Share of the "yes" that are right, at the base rate.
        base_rate: Share of the statements asked about that are true.
        seed: Of the noise.

    Raises:
        ConfigError: A share is not in 0..1, or no noise has this precision.
    """

    def __init__(
        self,
        truth: Callable[[str], bool | None],
        *,
        recall: float = 1.0,
        precision: float = PAPER_PRECISION,
        base_rate: float = PAPER_BASE_RATE,
        seed: int = 0,
    ) -> None:
        for name, value in (("recall", recall), ("precision", precision), ("base_rate", base_rate)):
            if not 0 < value <= 1 or (name == "base_rate" and value == 1):
                raise ConfigError(f"the oracle's {name} must be in 0..1 (0 excluded; 1 too for base_rate), got {value}")
        false_yes = recall * base_rate * (1 - precision) / (precision * (1 - base_rate))
        if false_yes > 1:
            raise ConfigError(
                f"no oracle with recall {recall} has a precision as low as {precision} when {base_rate:.0%} of the statements "
                f"are true: saying yes to all others gives {recall * base_rate / (recall * base_rate + 1 - base_rate):.2f}"
            )
        self._truth, self._seed = truth, seed
        self._p_yes_if = {True: recall, False: false_yes}
        missed, rejected = base_rate * (1 - recall), (1 - base_rate) * (1 - false_yes)
        self._p_true_if_no = missed / (missed + rejected) if missed else 0.0
        self._precision = precision
        self._id = f"oracle-recall{recall:g}-precision{precision:g}"

    @property
    def id(self) -> str:
        """`oracle` and its noise."""
        return self._id

    def check(self) -> None:
        """Nothing can be wrong once it is there."""

    def answer(self, images: Sequence[Image], questions: Sequence[str]) -> list[Answer]:
        """Answer from the truth of this moment; `p_yes` is the probability of truth given the noisy answer."""
        return [self._answer(image, question) for image, question in zip(images, questions, strict=True)]

    def _answer(self, image: Image, question: str) -> Answer:
        true = self._truth(question)
        if true is None:
            return Answer(text="cannot tell")
        rng = generator(self._seed, f"oracle-vlm: {question}", zlib.crc32(image.tobytes()))
        if rng.random() < self._p_yes_if[true]:
            return Answer(text="yes", p_yes=self._precision)
        return Answer(text="no", p_yes=self._p_true_if_no)
