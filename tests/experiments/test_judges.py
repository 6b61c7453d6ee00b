from __future__ import annotations

import numpy as np

from soar.evaluation.detector_metrics import Judgement
from soar.experiments.judges import JUDGES, Mirrored, best_of
from soar.tasks import SuccessDetector
from soar.tasks.views import read_views
from soar.testing import FakeVLM


def said(*right: bool, questions: int = 1) -> list[Judgement]:
    return [
        Judgement(id=str(n), instruction="put", truth=True, success=ok, probability=None, questions=questions)
        for n, ok in enumerate(right)
    ]


def test_the_best_judge_is_right_most_often_and_asks_least_among_equals() -> None:
    judged = {
        "last": said(True, True, True),
        "looks:21": said(True, True, False, questions=21),
        "changed": said(True, False, True, questions=2),
        "rise:21": said(True, False, False, questions=21),
    }
    assert best_of(judged) == "changed", "the first one is what others are compared with"


def test_all_judges_of_the_table_can_be_had_with_a_model_of_one_picture() -> None:
    for sees in JUDGES:
        SuccessDetector(FakeVLM(), sees=sees).check()
        assert read_views(sees)


def test_a_mirror_shows_the_picture_the_other_way_round() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    mirrored, question = Mirrored(), "Is the green block in the wooden bowl?"
    (there,) = mirrored.answer([image], [question])
    (back,) = mirrored.answer([np.ascontiguousarray(image[:, ::-1])], [question])
    assert there.p_yes != back.p_yes
    assert mirrored.id.endswith(" in a mirror")
