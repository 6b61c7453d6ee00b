"""How good a success detector is, against labels by people or the simulator (paper §D: precision 0.63, recall 1).

An undecidable answer is no success: nothing is learned from such an episode. It therefore counts against recall, never against
precision, and is reported on its own.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from soar.episodes.schema import PERSON, EpisodeRecord, is_verdict
from soar.episodes.store import EpisodeStore
from soar.errors import SoarError
from soar.evaluation.statistics import Z_95, Rate
from soar.files import replacing, write_json
from soar.tasks.detection import SuccessDetector
from soar.tasks.stored_films import films_of
from soar.types import Image, Label, Task

Judge = Literal["simulator", "person"]
_BINS = 10
_SCHEMA = 1
_CELL_PX = 192


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """One episode: what is true of it, and what the detector says.

    Attributes:
        id: Of the episode.
        instruction: Of its task.
        truth: Whether it succeeded.
        success: The detector's verdict; None when undecidable.
        probability: The detector's probability of success, None when it gives none.
        question: What it was asked.
        answer: Its words.
        scene: Of the episode.
        questions: That it cost.
        pictures: That were shown with them.
        seconds: That it took, reading the store not counted; those of a call are shared out.
    """

    id: str
    instruction: str
    truth: bool
    success: bool | None
    probability: float | None
    question: str = ""
    answer: str = ""
    scene: str = ""
    questions: int = 0
    pictures: int = 0
    seconds: float = 0.0


def judge(
    store: EpisodeStore,
    by: Judge,
    detector: SuccessDetector | None = None,
    *,
    task_of: Callable[[str], Task],
    where: str | None = None,
    limit: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Judgement]:
    """Compare a detector with the labels in a store.

    Args:
        store: The episodes.
        by: Whose labels are the truth; of several by people the newest.
        detector: Looks at films; None: the judgement of a model that is in the store already.
        task_of: From an instruction to its task.
        where: SQL that selects some of the episodes.
        limit: At most so many, the newest.
        on_progress: Called with episodes done and in all.

    Raises:
        SoarError: No episode has both labels, with what makes some.
    """
    found = [(record, truth) for record in store.episodes(where) if (truth := _truth(record, by)) is not None]
    if detector is None:
        found = [(record, truth) for record, truth in found if _by_model(record) is not None]
    found = found[-limit:] if limit else found
    if not found:
        raise SoarError(
            f"{store.uri} has no episode to compare: none is labelled by {'a person' if by == 'person' else 'the simulator'}"
            + (" and a model" if detector is None else "")
            + (f" where {where}" if where else "")
            + f". Label some with `soar data label {store.uri} --name YOU`, or choose --labels."
        )
    truths = {record.id: truth for record, truth in found}
    judgements: list[Judgement] = []
    for part, labels, seconds in _labelled(store, [record for record, _ in found], detector, task_of):
        for record, label in zip(part, labels, strict=True):
            questions, pictures = (0, 0) if detector is None else detector.cost(record.length)
            judgements.append(
                Judgement(
                    id=record.id,
                    scene=record.scene,
                    instruction=record.instruction,
                    truth=truths[record.id],
                    success=label.success,
                    probability=label.probability,
                    question=label.question,
                    answer=label.answer,
                    questions=questions,
                    pictures=pictures,
                    seconds=seconds / len(part),
                )
            )
        on_progress(len(judgements), len(found))
    return judgements


def _labelled(
    store: EpisodeStore, records: list[EpisodeRecord], detector: SuccessDetector | None, task_of: Callable[[str], Task]
) -> Iterator[tuple[list[EpisodeRecord], list[Label], float]]:
    """Yield episodes, their labels, and the seconds that these took."""
    if detector is None:
        yield records, [label for record in records if (label := _by_model(record)) is not None], 0.0
        return
    for part, films in films_of(store, records, detector):
        tasks, begun_s = [task_of(record.instruction) for record in part], time.perf_counter()
        labels = detector.judge_all(films, tasks)
        yield part, labels, time.perf_counter() - begun_s


def _truth(record: EpisodeRecord, by: Judge) -> bool | None:
    if by == "simulator":
        return record.simulator_success
    said = [label.success for label in record.labels if label.source.startswith(PERSON) and label.success is not None]
    return said[-1] if said else None


def _by_model(record: EpisodeRecord) -> Label | None:
    said = [label for label in record.labels if is_verdict(label) and not label.source.startswith(PERSON)]
    return said[-1] if said else None


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorScore:
    """What the judgements come to.

    Attributes:
        accuracy: Share of the episodes that are judged right.
        precision: Share of the judged successes that are true.
        recall: Share of the true successes that are judged so.
        undecided: Share of the answers that are undecidable.
        auc: Area under the ROC curve with its 95 % interval (Hanley and McNeil); None without probabilities of both kinds.
        roc: Points (threshold, false positive rate, true positive rate).
        calibration: Per tenth of probability: the mean probability, and the rate of true successes.
        calibration_error: Mean distance of the two, weighted by episodes; None without probabilities.
    """

    accuracy: Rate
    precision: Rate
    recall: Rate
    undecided: Rate
    auc: tuple[float, float, float] | None
    roc: tuple[tuple[float, float, float], ...]
    calibration: tuple[tuple[float, Rate], ...]
    calibration_error: float | None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values; rates with their Wilson intervals."""
        rates = {name: _rate(getattr(self, name)) for name in ("accuracy", "precision", "recall", "undecided")}
        return rates | {
            "auc": None if self.auc is None else {"value": self.auc[0], "interval": self.auc[1:]},
            "roc": [dict(zip(("threshold", "false_positive_rate", "true_positive_rate"), p, strict=True)) for p in self.roc],
            "calibration": [{"predicted": mean, "observed": _rate(rate)} for mean, rate in self.calibration],
            "calibration_error": self.calibration_error,
        }


def score(judgements: Sequence[Judgement]) -> DetectorScore:
    """Return the score of some judgements."""
    yes = [judgement for judgement in judgements if judgement.success is True]
    true = [judgement for judgement in judgements if judgement.truth]
    right = sum((judgement.success is True) is judgement.truth for judgement in judgements)
    hits = sum(judgement.truth for judgement in yes)
    likely = [(judgement.probability, judgement.truth) for judgement in judgements if judgement.probability is not None]
    p_N, truth_N = np.array([p for p, _ in likely], float), np.array([truth for _, truth in likely], bool)
    bins = _calibration(p_N, truth_N)
    error = sum(rate.trials * abs(mean - rate.value) for mean, rate in bins) / len(likely) if likely else None
    return DetectorScore(
        accuracy=Rate(successes=right, trials=len(judgements)),
        precision=Rate(successes=hits, trials=len(yes)),
        recall=Rate(successes=hits, trials=len(true)),
        undecided=Rate(successes=sum(judgement.success is None for judgement in judgements), trials=len(judgements)),
        auc=_auc(p_N, truth_N),
        roc=_roc(p_N, truth_N),
        calibration=bins,
        calibration_error=error,
    )


def _roc(p_N: NDArray[np.float64], truth_N: NDArray[np.bool_]) -> tuple[tuple[float, float, float], ...]:
    if not truth_N.any() or truth_N.all():
        return ()
    return tuple(
        (float(t), float((p_N[~truth_N] >= t).mean()), float((p_N[truth_N] >= t).mean())) for t in np.unique(p_N)[::-1]
    )


def _auc(p_N: NDArray[np.float64], truth_N: NDArray[np.bool_]) -> tuple[float, float, float] | None:
    positive_P, negative_M = p_N[truth_N], p_N[~truth_N]
    if not len(positive_P) or not len(negative_M):
        return None
    above = (positive_P[:, None] > negative_M).mean() + 0.5 * (positive_P[:, None] == negative_M).mean()
    a = float(above)
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    count = len(positive_P) * len(negative_M)
    variance = (a * (1 - a) + (len(positive_P) - 1) * (q1 - a * a) + (len(negative_M) - 1) * (q2 - a * a)) / count
    half = Z_95 * math.sqrt(max(variance, 0.0))
    return a, max(0.0, a - half), min(1.0, a + half)


def _calibration(p_N: NDArray[np.float64], truth_N: NDArray[np.bool_]) -> tuple[tuple[float, Rate], ...]:
    bins = np.clip((p_N * _BINS).astype(int), 0, _BINS - 1)
    return tuple(
        (float(p_N[bins == b].mean()), Rate(successes=int(truth_N[bins == b].sum()), trials=int((bins == b).sum())))
        for b in np.unique(bins)
    )


def _rate(rate: Rate) -> dict[str, Any]:
    return asdict(rate) | {"value": None if not rate.trials else rate.value, "interval": rate.interval}


def mistakes_sheet(store: EpisodeStore, judgements: Sequence[Judgement], count: int = 24, columns: int = 4) -> bytes | None:
    """Return the final frames of wrong judgements as one WebP, surest first; None when there are none."""
    wrong = [judgement for judgement in judgements if (judgement.success is True) is not judgement.truth]
    wrong.sort(key=lambda judgement: -abs((0.5 if judgement.probability is None else judgement.probability) - 0.5))
    if not (wrong := wrong[:count]):
        return None
    rows = {record.id: record.first_row + record.length for record in store.episodes()}
    frames: list[Image] = list(store.rows([rows[judgement.id] for judgement in wrong]).images_NHWC)
    height = _CELL_PX + 34
    sheet = Pillow.new("RGB", (columns * _CELL_PX, -(-len(wrong) // columns) * height), (24, 26, 30))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for index, (judgement, frame) in enumerate(zip(wrong, frames, strict=True)):
        x, y = index % columns * _CELL_PX, index // columns * height
        said = "undecided" if judgement.success is None else "success" if judgement.success else "failure"
        sure = "" if judgement.probability is None else f" ({judgement.probability:.2f})"
        lines = f"{judgement.instruction[:34]}\nsaid {said}{sure}, was {'success' if judgement.truth else 'failure'}"
        draw.multiline_text((x + 3, y + 3), lines, (226, 228, 232), font)
        sheet.paste(Pillow.fromarray(frame).resize((_CELL_PX, _CELL_PX)), (x, y + 34))
    buffer = io.BytesIO()
    sheet.save(buffer, "WEBP", quality=75)
    return buffer.getvalue()


def write_report(folder: Path, vlm: str, labels: str, judgements: Sequence[Judgement], mistakes: bytes | None) -> DetectorScore:
    """Write report.json and, when there are mistakes, mistakes.webp; return the score.

    Raises:
        SoarError: The folder cannot be written.
    """
    result = score(judgements)
    if mistakes is not None:
        with replacing(folder / "mistakes.webp") as path:
            path.write_bytes(mistakes)
    entries = [asdict(judgement) for judgement in judgements]
    write_json(
        folder / "report.json",
        {"schema": _SCHEMA, "vlm": vlm, "labels": labels, **result.to_json(), "judgements": entries},
    )
    return result
