"""Models that are named instead of loaded: the simulator's own answers."""

from __future__ import annotations

from soar.collect.models import open_vlm
from soar.robots.workcell import open_workcell


def test_the_truth_is_never_wrong_and_the_oracle_now_and_then() -> None:
    with open_workcell("sim:scene5", image_size=32) as workcell:
        assert workcell.reset_for is not None
        workcell.reset_for("open the drawer", 0)
        picture = workcell.robot.observe().image_HWC
        questions = list(dict.fromkeys(task.question for task in workcell.scene.tasks))
        assert workcell.answer is not None
        true = ["yes" if workcell.answer(question) else "no" for question in questions]
        said = {
            name: [open_vlm(name, workcell, seed).answer([picture] * len(questions), questions) for seed in range(40)]
            for name in ("truth", "oracle")
        }
    assert all([answer.text for answer in answers] == true for answers in said["truth"])
    assert {answer.p_yes for answers in said["truth"] for answer in answers} <= {0.0, 1.0}
    assert true == ["no"], "it is to be opened"
    assert {answer.text for answers in said["oracle"] for answer in answers} == {"yes", "no"}
