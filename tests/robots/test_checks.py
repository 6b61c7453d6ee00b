"""`soar robot check` and `soar robot box`, on arms that are well and on arms that are not."""

from __future__ import annotations

import json
import os
import pty
import re
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from soar.cli import main
from soar.errors import ConfigError
from soar.robots.checks import Finding, _colours, _motors, check_robot
from soar.robots.measuring import measure, write_box
from soar.robots.workcell import load_workcell, open_workcell
from soar.testing import FakeRobot
from soar.testing.widowx_faults import FaultPlan, ServerFault
from soar.testing.widowx_server import WidowXServer
from soar.types import Action, Image, Observation, WorkspaceBox

from .test_workcell import cell
from .widowx import widowx, workcell_file


class Live(FakeRobot):
    """A fake whose camera gives no picture twice, as real ones do."""

    def __init__(self) -> None:
        super().__init__(64)
        self.frames = 0

    def observe(self) -> Observation:
        seen = super().observe()
        self.frames += 1
        seen.image_HWC[0, :8, :] = [self.frames % 256, self.frames // 256, 30]
        return seen


class Swapped(Live):
    """Its x axis is the other's y axis."""

    def act(self, action: Action) -> None:
        super().act(action[[1, 0, 2, 3, 4, 5, 6]])


class Frozen(Live):
    def observe(self) -> Observation:
        self.frames = 0
        return super().observe()


def findings_of(workcell: Any, reference: Image | None = None) -> dict[str, Finding]:
    findings: list[Finding] = []
    check_robot(workcell, reference, findings.append)
    return {finding.check: finding for finding in findings}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("soar.robots.widowx.recovery.BETWEEN_JOINTS_S", 0.0)
    monkeypatch.setattr("soar.robots.checks.FRAMES", 12)
    monkeypatch.setattr("soar.robots.checks.ROUND_TRIPS", 5)
    monkeypatch.setattr("soar.robots.checks.SLOW_S", 30.0)  # what is measured here is this computer
    monkeypatch.setattr("soar.robots.checks.LEAST_FPS", 0.1)


def test_a_good_arm_passes_all_and_what_cannot_be_known_is_called_so(tmp_path: Path) -> None:
    with widowx(tmp_path, Live, dialect="bridge-motors") as (server, workcell):
        found = findings_of(workcell)
        reboots = len(server.arm.rebooted)
    assert {name: finding.detail for name, finding in found.items() if finding.ok is False} == {}
    assert [name for name, finding in found.items() if finding.ok is None] == ["view"]
    assert found["box"].detail == "8 of 8 corners reached"
    assert reboots == 7
    assert len(found) == 23


def test_what_an_arm_cannot_do_or_tell_is_no_failure(tmp_path: Path) -> None:
    with widowx(tmp_path, Live, dialect="manipulator") as (_, workcell):
        found = findings_of(workcell)
    assert {name for name, one in found.items() if one.ok is None} == {
        "view",
        "turn +roll",
        "turn -roll",
        "turn +pitch",
        "turn -pitch",
    }
    with widowx(tmp_path, Live, dialect="bridge") as (_, workcell):
        (motors,) = _motors(workcell)
    assert (motors.ok, motors.detail) == (None, "the robot does not tell")


def test_exchanged_axes_are_found(tmp_path: Path) -> None:
    with open_workcell(swapped(tmp_path, "Swapped")) as workcell:
        found = findings_of(workcell)
    assert found["move +x"].ok is False
    assert found["move +z"].ok is True
    assert "axes are others" in found["move +x"].advice


def swapped(folder: Path, name: str) -> str:
    path = Path(cell(folder))
    path.write_text(path.read_text().replace("tests.robots.own:Arm", f"tests.robots.test_checks:{name}"))
    return str(path)


def test_a_camera_that_repeats_its_picture_and_exchanged_colours_are_found(tmp_path: Path) -> None:
    with open_workcell(swapped(tmp_path, "Frozen")) as workcell:
        red = workcell.robot.observe().image_HWC.copy()
        red[:, :, 2] = 40
        found = findings_of(workcell, red[..., ::-1])
    assert found["camera"].ok is False
    assert "1 different pictures of 12" in found["camera"].detail


def test_red_for_blue_is_found_beside_the_reference_picture() -> None:
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:, :32] = (200, 60, 20)
    picture[:, 32:] = (30, 90, 180)
    assert _colours(picture, picture).ok is True
    assert "red and blue are exchanged" in _colours(picture[..., ::-1], picture).detail
    assert _colours(np.roll(picture, 32, 1), picture).ok is False


def test_a_fault_is_a_finding_and_the_other_checks_follow(tmp_path: Path) -> None:
    plan = FaultPlan([ServerFault(kind="failure", request=30)])
    with widowx(tmp_path, Live, dialect="bridge-motors", faults=plan) as (_, workcell):
        found = findings_of(workcell)
    wrong = [name for name, one in found.items() if one.ok is False]
    assert len(wrong) == 1
    assert "status 2: execution failed" in found[wrong[0]].detail
    assert found["box"].ok is True


def test_the_command_says_what_will_move_asks_and_writes_what_it_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("soar.terminal.TERMINAL", tmp_path / "no-terminal")
    out = tmp_path / "check.json"
    with WidowXServer(Live, dialect="bridge-motors") as server:
        command = ["robot", "check", "--workcell", workcell_file(tmp_path, server.port), "--run", str(tmp_path)]
        command += ["--policy", "soar.testing:FakePolicy", "--subgoals", "soar.testing:FakeSubgoals"]
        command += ["--vlm", "soar.testing:FakeVLM", "--dry-run", "1", "--json", str(out)]
        assert main(command) == 2
        asked = capsys.readouterr()
        assert "What will move:\n" in asked.out
        assert "say --yes" in asked.err
        assert server.executed == {}
        status = main([*command, "--yes"])
    said = capsys.readouterr()
    assert status == 0, said
    found = json.loads(out.read_text())
    assert found["ok"]
    rows = {row["check"]: row for row in found["rows"]}
    assert rows["dry run"]["detail"].startswith("1 of 1 episodes")
    assert rows["disk"]["ok"] is True
    assert said.out.splitlines()[-1] == "ready for the night"
    assert "words of" not in said.out  # who cannot say which words it knows is not accused
    assert all(f"✓ {name}: " in said.out for name in ("models", "box", "home", "reboot", "lost connection"))


def test_the_command_fails_with_the_names_of_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["robot", "check", "--workcell", swapped(tmp_path, "Swapped"), "--yes", "--dry-run", "0"]
    command += ["--policy", "soar.testing:NoSuchPolicy"]
    assert main(command) == 2
    captured = capsys.readouterr()
    assert "not ready for the night: " in captured.err
    assert "move +x" in captured.err
    assert "models" in captured.err
    assert "✗ move +x: told 10 mm, moved 0.0 mm that way\n    → the driver's axes are others" in captured.out


def test_models_that_do_not_know_the_scenes_words_are_not_ready_for_the_night(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = Path(swapped(tmp_path, "Live")), tmp_path / "check.json"
    task = "{instruction: shove the carrot over to the plate, question: 'Is the carrot beside the plate?', feasible_answer: no}"
    path.write_text(path.read_text().replace("[put the carrot on the plate]", f"[{task}]"))
    command = ["robot", "check", "--workcell", str(path), "--run", str(tmp_path), "--yes", "--dry-run", "0", "--json", str(out)]
    assert main(command) == 2
    captured = capsys.readouterr()
    assert "ready for the night" not in captured.out
    assert "error: not ready for the night: words of --vlm, words of --subgoals. Do what stands there" in captured.err
    assert re.search(
        r"✗ words of --vlm: vqa-\w+ does not know beside of 'Is the carrot beside the plate\?'\n    →", captured.out
    )
    assert re.search(r"✗ words of --subgoals: flow-\w+ does not know shove, over of 'shove the carrot over to", captured.out)
    assert not json.loads(out.read_text())["ok"]


def test_a_check_that_could_not_begin_is_no_good_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "check.json"
    command = ["robot", "check", "--workcell", swapped(tmp_path, "NoSuchArm"), "--yes", "--json", str(out)]
    assert main(command) == 2
    assert "cannot be imported" in capsys.readouterr().err
    found = json.loads(out.read_text())
    assert found["ok"] is False
    assert [row["check"] for row in found["rows"]] == ["workcell"]
    assert "cannot be imported" in found["rows"][0]["detail"]


def test_what_is_not_installed_for_the_models_is_a_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def check_models(_models: object) -> object:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr("soar.collect.models.check_models", check_models)
    monkeypatch.setattr("soar.robots.checks.check_robot", lambda *_: True)
    assert main(["robot", "check", "--workcell", cell(tmp_path), "--yes", "--run", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert "✗ models: this needs torch, which is not installed: pip install 'soar-robot[train]'\n    → install" in captured.out
    assert "✓ disk" in captured.out
    assert captured.err.startswith("error: not ready for the night: models.")


def test_a_home_at_the_edge_of_the_box_is_no_fault_of_the_arm(tmp_path: Path) -> None:
    path = Path(swapped(tmp_path, "Live"))
    x, y, z = FakeRobot().observe().state[:3].round(3).tolist()
    path.write_text(re.sub(r"workspace: .*", f"workspace: {{low: [{x}, {y}, 0.05], high: [0.4, 0.2, {z}]}}", path.read_text()))
    with open_workcell(str(path)) as workcell:
        found = findings_of(workcell)
    assert {name: one.detail for name, one in found.items() if one.ok is False} == {}


def test_the_box_is_where_the_gripper_was_and_all_else_in_the_file_stays(tmp_path: Path) -> None:
    path = Path(cell(tmp_path))
    path.write_text("# our bench\n" + path.read_text() + "image_size: [48, 64]  # as the camera gives\n")
    keys = iter("w" * 3 + "s" * 4 + "a" * 5 + "r" * 2 + "f" * 3 + "?" + "\n")
    said: list[str] = []
    with open_workcell(str(path)) as workcell:
        workcell.robot.home()
        box = measure(workcell.robot, lambda: next(keys), said.append)
        assert box == WorkspaceBox(low=(0.26, 0.0, 0.11), high=(0.3, 0.05, 0.14))
        picture = write_box(path, box, workcell.robot.observe().image_HWC)
    assert said[0].strip() == "x 0.280  y +0.000  z 0.120 m"
    again = load_workcell(str(path))
    assert (again.workspace, again.image_size, again.reference) == (box, (48, 64), picture)
    assert path.read_text().startswith("# our bench\nrobot:")
    assert path.read_text().count("workspace") == 1
    assert cv2.imread(str(picture)).shape == (48, 64, 3)


def test_a_box_that_is_none_and_a_change_of_mind_change_nothing(tmp_path: Path) -> None:
    with open_workcell(cell(tmp_path)) as workcell:
        keys = iter("ww\n")
        with pytest.raises(ConfigError, match="which is no box: drive it along every axis"):
            measure(workcell.robot, lambda: next(keys), lambda _: None)
        assert measure(workcell.robot, lambda: "q", lambda _: None) is None


def test_the_command_reads_keys_from_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    master, slave = pty.openpty()
    monkeypatch.setattr("soar.robots.measuring.TERMINAL", Path(os.ttyname(slave)))
    path = cell(tmp_path)
    typing = threading.Thread(target=os.write, args=(master, b"w" * 3 + b"a" * 3 + b"r" * 3 + b"\n"))
    typing.start()
    assert main(["robot", "box", "--workcell", path, "--yes"]) == 0
    typing.join()
    os.close(master)
    os.close(slave)
    assert load_workcell(path).workspace == WorkspaceBox(low=(0.27, 0.0, 0.12), high=(0.3, 0.03, 0.15))
    assert "reference bench-reference.png" in capsys.readouterr().out
