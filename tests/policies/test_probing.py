from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from soar.policies.base import Policy
from soar.policies.probing import Situation, probe
from soar.robots.checks import Finding
from soar.robots.safety import SafetyLimits
from soar.testing import FakePolicy, FakeRobot
from soar.testing.fakes import FAKE_WORKSPACE

from . import probed
from .openpi.servers import answering, opened, saying

SITUATION = Situation(
    observation=FakeRobot().observe(),
    instruction="open the drawer",
    another="close the drawer",
    limits=SafetyLimits(),
    workspace=FAKE_WORKSPACE,
)


def found(policy: Policy, step_s: float = 0.01) -> dict[str, Finding]:
    ticks = itertools.count()
    return {one.check: one for one in probe(policy, SITUATION, 5, clock=lambda: next(ticks) * step_s)}


def test_a_policy_that_looks_and_listens_is_well() -> None:
    findings = found(probed.Own())
    assert {check: one.ok for check, one in findings.items()} == dict.fromkeys(findings, True)
    assert findings["policy"].detail == "own, follows instructions, looks at pictures of any size"
    assert findings["latency"].detail == "a plan takes 10 ms (p50), 10 ms (p99); an action takes 200 ms"


def test_one_that_neither_looks_nor_listens_is_told_so() -> None:
    findings = found(probed.Deaf())
    assert [findings[f"another {what}"].ok for what in ("picture", "instruction")] == [None, None]
    assert "its action is the same" in findings["another instruction"].detail
    assert "another instruction" not in found(FakePolicy()), "goal images are all that it follows"


def test_whether_equal_observations_get_equal_actions_is_said() -> None:
    assert found(probed.Own())["determinism"].detail == "equal observations get equal actions"
    moody = found(probed.Moody())
    assert moody["determinism"].ok is None
    assert "different actions, by up to 0.00" in moody["determinism"].detail
    assert "by no more than it does by chance" in moody["another picture"].detail


def test_a_slow_one_makes_the_arm_wait() -> None:
    assert found(probed.Own(), step_s=0.5)["latency"].ok is None


@pytest.mark.parametrize(("step_m", "ok"), [(0.049, True), (0.06, None), (0.11, False)])
def test_a_policy_that_is_somewhat_faster_than_the_robot_may_be_is_asked_about_and_other_units_are_refused(
    step_m: float, ok: bool | None
) -> None:
    assert found(FakePolicy((0, step_m, 0, 0, 0, 0, 1.0)))["translation of a step"].ok is ok


def test_motions_beyond_the_workcells_limits_and_box_are_counted() -> None:
    findings = found(probed.Fast())
    assert findings["translation of a step"].ok is False
    assert findings["translation of a step"].detail == "up to 0.5 m; 6 of 6 exceed the limit of 0.05 m"
    assert findings["box"].detail == "these actions would leave it by 2.870 m"
    assert (findings["gripper"].ok, findings["gripper"].detail) == (False, "its targets are 3 … 3")


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (probed.NotANumber(), "its action is not finite"),
        (probed.SixNumbers(), r"gives float32 \(1, 6\), and numbers of shape \(1, 7\) are wanted"),
        (probed.Raising(), "the policy fails: KeyError: 'wrist'"),
    ],
)
def test_what_is_no_action_is_the_last_finding(policy: Policy, words: str) -> None:
    findings = found(policy)
    assert findings["answer"].ok is False
    assert re.search(words, findings["answer"].detail)
    assert list(findings)[-1] == "answer"


def test_a_policy_without_a_unit_of_exploration_is_found_out() -> None:
    policy = FakePolicy()
    policy.action_std = np.zeros(7, np.float32)
    assert found(policy)["exploration"].ok is False


def test_what_a_server_wants_and_gives_is_said() -> None:
    with answering(config="pi0") as server:
        findings = found(opened(server))
        assert findings["wants"].detail.startswith("observation/image uint8 (32, 32, 3)")
        assert findings["server"].detail.endswith('says {"config": "pi0"}')
        server.infer = saying({})
        assert "gives no 'actions'" in found(opened_before(server))["answer"].detail


def opened_before(server: Any) -> Any:
    """A policy that was opened while its server was well."""
    wrong, server.infer = server.infer, saying()
    policy = opened(server)
    server.infer = wrong
    return policy


CELL = """
robot: {driver: "tests.robots.own:Cell", limits: {translation_m: 0.02}}
workspace: {low: [0.15, -0.2, 0.02], high: [0.4, 0.2, 0.2]}
scene: {tasks: [put the carrot on the plate, close the drawer]}
"""


def test_the_command_compares_with_the_workcell_and_ends_with_2_when_it_cannot_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from soar.cli import main

    (tmp_path / "bench.yaml").write_text(CELL)
    asked = ["policy", "probe", "tests.policies.probed:Own", "--asks", "3"]
    assert main([*asked, "--workcell", str(tmp_path / "bench.yaml"), "--json", str(tmp_path / "found.json")]) == 0
    said = capsys.readouterr().out
    assert "✓ translation of a step" in said
    assert "exceed the limit of 0.02 m" in said
    assert '"policy": "own"' in (tmp_path / "found.json").read_text()
    asked[2] = "tests.policies.probed:Fast"
    assert main([*asked, "--workcell", str(tmp_path / "bench.yaml")]) == 2
    captured = capsys.readouterr()
    assert "✗ translation of a step" in captured.out
    assert "cannot be used here: gripper, translation of a step" in captured.err


def test_with_a_picture_no_robot_is_opened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from soar.cli import main
    from soar.cli.pictures import write_picture

    (tmp_path / "bench.yaml").write_text(CELL.replace("own:Cell", "own:refusing"))
    write_picture(tmp_path / "table.png", FakeRobot().observe().image_HWC)
    asked = ["policy", "probe", "tests.policies.probed:Own", "--workcell", str(tmp_path / "bench.yaml"), "--asks", "2"]
    assert main(asked) == 2
    assert "no arm on" in capsys.readouterr().err
    assert main([*asked, "--picture", str(tmp_path / "table.png")]) == 0
