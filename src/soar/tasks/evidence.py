"""What a judge that sees more than the last frame bases its verdict on, as it stands in the `answer` of its label.

    [{"judge": "vqa-1a2b sees looks:3", "frames": [0, 50, 100], "probabilities": [0.02, 0.31, 0.97], "answers": ["no", …],
      "success": true, "probability": 0.43, "curve": true}]

One entry a judge; of two that must agree each has its own. `probabilities` are those of success at the frames, one for all
frames together where the model was asked once; null where an answer gave none.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from soar.errors import SoarError
from soar.types import Label
from soar.untrusted import parse_json

_DIGITS = 4
_LONGEST = 200
"""Characters of an answer that are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What one judge based its verdict on.

    Attributes:
        judge: Who.
        frames: What it looked at, increasing.
        probabilities: Of success, at each frame or of all; None where an answer gave none.
        answers: Its words.
        success: Its verdict; None when undecidable.
        probability: Of success; None when it gives none.
        curve: Whether the probabilities are those of success as the attempt went on.
    """

    judge: str
    frames: tuple[int, ...]
    probabilities: tuple[float | None, ...]
    answers: tuple[str, ...]
    success: bool | None
    probability: float | None
    curve: bool = False

    @property
    def points(self) -> tuple[tuple[int, float], ...]:
        """The curve: (frame, probability of success); empty where it is none, or has gaps."""
        if not self.curve or len(self.frames) != len(self.probabilities):
            return ()
        points = tuple((f, p) for f, p in zip(self.frames, self.probabilities, strict=True) if p is not None)
        return points if len(points) == len(self.frames) else ()


def written(evidence: Sequence[Evidence]) -> str:
    """Return it as text for a label."""
    entries = [asdict(one) for one in evidence]
    for entry in entries:
        entry["answers"] = [text.strip()[:_LONGEST] for text in entry["answers"]]
        entry["probabilities"] = [None if p is None else round(p, _DIGITS) for p in entry["probabilities"]]
    return json.dumps(entries, ensure_ascii=False)


def evidence_of(label: Label) -> tuple[Evidence, ...]:
    """Return what a label's judge based it on; nothing for one that saw the last frame only, or a text of another kind."""
    if not label.answer.startswith("[{"):
        return ()
    try:
        return tuple(_entry(found) for found in parse_json(label.answer))
    except (SoarError, ValueError, KeyError, TypeError):
        return ()  # a model's own words, that happen to look like it


def curve_of(label: Label) -> tuple[tuple[int, float], ...]:
    """Return (frame, probability of success) as an attempt went on, of the first judge that has a curve; else nothing."""
    return next((one.points for one in evidence_of(label) if one.points), ())


def _entry(found: dict[str, object]) -> Evidence:
    frames, chances, answers = (found[name] for name in ("frames", "probabilities", "answers"))
    if not isinstance(frames, list) or not isinstance(chances, list) or not isinstance(answers, list):
        raise TypeError("no evidence")
    if not all(type(frame) is int for frame in frames) or any(a >= b for a, b in itertools.pairwise(frames)):
        raise ValueError("frames increase")
    success = found["success"]
    return Evidence(
        judge=str(found["judge"]),
        frames=tuple(frames),
        probabilities=tuple(_chance(p) for p in chances),
        answers=tuple(map(str, answers)),
        success=success if isinstance(success, bool) else None,
        probability=_chance(found["probability"]),
        curve=found.get("curve") is True,
    )


def _chance(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not 0 <= value <= 1:
        raise ValueError("a probability lies in 0..1")
    return float(value)
