"""The file that says what a robot does now: whole at any moment, in its folder, and never waited for."""

from __future__ import annotations

import base64
import json
import threading
import time
from pathlib import Path

import numpy as np
import simplejpeg

from soar.collect.early_success import EarlySuccessConfig
from soar.collect.listeners import Event, Listeners
from soar.collect.live import PICTURE_PX, LiveView, file_name
from soar.collect.rollout import RolloutConfig
from soar.progress import FILE, ProgressFile
from soar.types import Observation
from tests.collect.collecting import PUT, ROLLOUT, collector


def read(folder: Path, robot: str = "fake") -> dict[str, object]:
    value: dict[str, object] = json.loads((folder / file_name(robot)).read_text())
    return value


def step(number: int, side: int = 16) -> Event:
    image = np.full((side, 2 * side, 3), number, np.uint8)
    fields = {"step": number, "observation": Observation(image_HWC=image, state=np.zeros(7, np.float32)), "action": None}
    return Event(kind="step", robot="a", fields=fields)


def test_a_robot_that_collects_says_what_it_does_and_what_was_asked_and_answered(tmp_path: Path) -> None:
    listeners = Listeners("fake", [LiveView(tmp_path / "live", "fake")])
    early = RolloutConfig(subgoals=2, steps_per_subgoal=5, early_success=EarlySuccessConfig(every=4))
    made = collector(tmp_path, listeners=listeners, rollout=early, script=lambda image, question: "drawer" in question)
    made.run(2)
    listeners.close()
    said = read(tmp_path / "live")
    assert (said["robot"], said["phase"], said["step"], said["subgoals"]) == ("fake", "goes home", 10, 2)
    assert said["instruction"] == PUT.instruction
    attempts, answers = said["attempts"], said["answers"]
    assert isinstance(attempts, list)
    assert isinstance(answers, list)
    assert [one["id"][-1] for one in attempts] == ["1", "0"]
    assert {one["what"] for one in answers} == {"feasible", "success"}
    assert all(one["question"] for one in answers)
    for name in ("camera", "subgoal"):
        picture = simplejpeg.decode_jpeg(base64.b64decode(str(said[name])), colorspace="RGB")
        assert picture.shape == (16, 16, 3)


def test_pictures_are_small_and_written_four_times_a_second_at_most(tmp_path: Path) -> None:
    now = [100.0]
    view = LiveView(tmp_path, "a", clock=lambda: now[0])
    seen = []
    for number in range(20):
        view(step(number, 800))
        seen.append(read(tmp_path, "a")["step"])
        now[0] += 0.1
    assert len(set(seen)) == 7
    picture = simplejpeg.decode_jpeg_header(base64.b64decode(str(read(tmp_path, "a")["camera"])))
    assert picture[:2] == (PICTURE_PX // 2, PICTURE_PX)


def test_whoever_reads_sees_a_whole_file_at_any_moment(tmp_path: Path) -> None:
    view = LiveView(tmp_path, "a", clock=iter(range(10**9)).__next__)
    view(step(0))
    ended = threading.Event()

    def write() -> None:
        for number in range(300):
            view(step(number % 200))
        ended.set()

    thread = threading.Thread(target=write)
    thread.start()
    reads = 0
    while not ended.is_set():
        assert read(tmp_path, "a")["robot"] == "a"
        reads += 1
    thread.join()
    assert reads


def test_a_robot_of_any_name_has_a_file_in_the_folder(tmp_path: Path) -> None:
    names = ["../..", "..", "/etc/passwd", "a/b", "ä" * 200, "a\n", ".hidden", "x" * 200]
    for name in names:
        LiveView(tmp_path / "live", name)(step(1))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.parent for path in files} == {tmp_path / "live"}
    assert {json.loads(path.read_text())["robot"] for path in files} == set(names)


def test_a_robot_goes_on_when_the_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "live").write_text("no folder")
    listeners = Listeners("fake", [LiveView(tmp_path / "live", "fake")])
    assert collector(tmp_path, listeners=listeners, rollout=ROLLOUT).run(1) == 1
    listeners.close()


def test_a_robot_does_not_wait_for_a_file_that_is_slow(tmp_path: Path) -> None:
    class Slow(LiveView):
        def __call__(self, event: Event) -> None:
            gate.wait()
            super().__call__(event)

    gate = threading.Event()
    listeners = Listeners("fake", [Slow(tmp_path / "live", "fake")])
    assert collector(tmp_path, listeners=listeners).run(30) == 30  # ends although nothing was heard yet
    gate.set()
    listeners.close()
    assert int(str(read(tmp_path / "live")["missed"])) > 0


def test_how_far_a_phase_is_stands_in_a_file_and_is_told_on(tmp_path: Path) -> None:
    told = []
    report = ProgressFile(tmp_path, lambda phase, done, total, note="": told.append((phase, done, total, note)))
    report("collect", 3, 10, "two judged successes")
    report("collect", 4, 10)
    report("collect", 10, 10)
    said = json.loads((tmp_path / FILE).read_text())
    assert (said["phase"], said["done"], said["total"], said["done_then"]) == ("collect", 10, 10, 3)
    assert said["begun_s"] <= said["time_s"] <= time.time()
    assert told == [("collect", 3, 10, "two judged successes"), ("collect", 4, 10, ""), ("collect", 10, 10, "")]
    (tmp_path / "file").write_text("")
    ProgressFile(tmp_path / "file", report)("collect", 1, 2)
    assert told[-1][1] == 1
