from __future__ import annotations

import pytest

from soar.episodes.schema import label_columns, resolve
from soar.types import Label

from .builders import judged


@pytest.mark.parametrize(
    ("labels", "verdict"),
    [
        ([], None),
        ([judged(True)], True),
        ([judged(True, time_s=1), judged(False, time_s=2)], False),
        ([judged(True, time_s=2), judged(False, time_s=1)], True),
        ([judged(True, time_s=1), judged(False, time_s=1)], False),
        ([judged(False, "person:kim", time_s=1), judged(True, "vqa-2", time_s=9)], False),
        ([judged(False, "person:kim", time_s=1), judged(True, "person:lee", time_s=2)], True),
        ([judged(False, time_s=1), judged(True, "simulator", time_s=9)], False),
        ([judged(True, "simulator")], None),
    ],
    ids=[
        "no label, no verdict",
        "one model's",
        "the newest of a model's",
        "newest by time, not by position",
        "the later of the same time",
        "a person outranks a newer model",
        "the newest of two people's",
        "the simulator never overrules",
        "the simulator alone is no verdict",
    ],
)
def test_which_label_counts(labels: list[Label], verdict: bool | None) -> None:
    counts = resolve(labels)
    assert (counts.success if counts else None) is verdict
    assert label_columns(labels)["success"] is verdict


def test_the_simulators_verdict_is_kept_apart() -> None:
    columns = label_columns([judged(False, probability=0.3), judged(True, "simulator")])
    assert (columns["success"], columns["probability"], columns["simulator_success"]) == (False, 0.3, True)
    assert columns["label_count"] == 2
