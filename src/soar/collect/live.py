"""What each robot does now, in one small file a robot: for pages that look, and never wait for and are never waited for.

    RUN/live/ROBOT.json    replaced as a whole, four times a second at most; what was not seen is not kept

`LiveView` is a listener (`soar.collect.listeners`): it works in the listeners' thread, and events that come too fast for it are
dropped there. Whoever reads the file finds the robot as it was `time_s`; a file that gets old is of a robot that has ended, or
whose process has died. Pictures are JPEGs in base64, `PICTURE_PX` wide at most. A file that cannot be written is done without.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import simplejpeg

from soar.collect.listeners import Event
from soar.episodes.schema import is_verdict
from soar.files import refresh_json
from soar.images import resized
from soar.types import Image
from soar.vlm.answer_parsing import decide

log = logging.getLogger(__name__)
FOLDER = "live"
SCHEMA = 1
PICTURE_PX = 320
_EVERY_S = 0.25
_QUALITY = 80
_ATTEMPTS, _FAULTS, _ANSWERS = 8, 5, 6
_AT_ONCE = ("episode_begins", "subgoal", "judged", "episode_ends", "fault")
"""Events after which the file is written whatever the time."""


class LiveView:
    """Writes what one robot does.

    Args:
        folder: `RUN/live`, or another one; made by the first event.
        robot: Its name, whatever characters it has.
        clock: Seconds since the Unix epoch.
    """

    def __init__(self, folder: Path, robot: str, clock: Callable[[], float] = time.time) -> None:
        self._path, self._clock = folder / file_name(robot), clock
        self._written_s, self._broken = -float("inf"), False
        self._attempts: deque[dict[str, Any]] = deque(maxlen=_ATTEMPTS)
        self._faults: deque[dict[str, Any]] = deque(maxlen=_FAULTS)
        self._answers: deque[dict[str, Any]] = deque(maxlen=_ANSWERS)
        self._image: Image | None = None
        self._said: dict[str, Any] = {
            "schema": SCHEMA,
            "robot": robot,
            "process": os.getpid(),
            "phase": "begins",
            "instruction": "",
            "index": None,
            "step": 0,
            "subgoals": 0,
            "subgoal_step": 0,
            "missed": 0,
            "camera": "",
            "subgoal": "",
        }

    def __call__(self, event: Event) -> None:
        """Take note of what happened, and write it down when it is time."""
        self._said["missed"] += event.missed
        hear = getattr(self, f"_{event.kind}", None)
        if hear is not None:
            hear(event.fields)
        now_s = self._clock()
        if not self._broken and (event.kind in _AT_ONCE or now_s - self._written_s >= _EVERY_S):
            self._written_s = now_s
            self._write(now_s)

    def _proposal(self, fields: Mapping[str, Any]) -> None:
        self._said["phase"] = "chooses a task"
        for question, answer in fields["proposal"].answers.items():
            self._answers.append(_asked("feasible", question, answer.text, decide(answer), answer.p_yes))

    def _episode_begins(self, fields: Mapping[str, Any]) -> None:
        self._said |= {"phase": "acts", "instruction": str(fields["instruction"])[:500], "index": fields["index"]}
        self._said |= {"step": 0, "subgoals": 0, "subgoal_step": 0, "subgoal": ""}

    def _subgoal(self, fields: Mapping[str, Any]) -> None:
        self._image = fields["image_HWC"]
        self._said["subgoals"] += 1
        self._said |= {"step": fields["step"], "subgoal_step": fields["step"], "subgoal": _picture(fields["subgoal_HWC"])}

    def _step(self, fields: Mapping[str, Any]) -> None:
        self._said |= {"phase": "acts", "step": fields["step"]}
        self._image = fields["observation"].image_HWC

    def _reflex(self, fields: Mapping[str, Any]) -> None:
        self._said["phase"] = "backs off"

    def _look(self, fields: Mapping[str, Any]) -> None:
        label = fields["label"]
        self._answers.append(_asked("success", label.question, label.answer, label.success, label.probability))

    def _judged(self, fields: Mapping[str, Any]) -> None:
        self._said["phase"] = "judged"
        self._look(fields)

    def _episode_ends(self, fields: Mapping[str, Any]) -> None:
        episode = fields["episode"]
        label = next((label for label in episode.labels if is_verdict(label)), None)
        verdict = {"success": None if label is None else label.success, "probability": label.probability if label else None}
        about = {"id": episode.id, "instruction": episode.instruction, "time_s": self._clock()}
        self._attempts.appendleft(about | verdict)
        self._said["phase"] = "goes home"

    def _paused(self, fields: Mapping[str, Any]) -> None:
        self._said["phase"] = f"paused by {fields['by']}"[:100]

    def _fault(self, fields: Mapping[str, Any]) -> None:
        self._said["phase"] = "recovers"
        fault = {"kind": str(fields["fault"]), "detail": str(fields["detail"])[:300], "time_s": self._clock()}
        self._faults.appendleft(fault)

    def _write(self, now_s: float) -> None:
        if self._image is not None:
            self._said["camera"], self._image = _picture(self._image), None
        lists = {"attempts": list(self._attempts), "faults": list(self._faults), "answers": list(self._answers)[::-1]}
        try:
            refresh_json(self._path, self._said | lists | {"time_s": now_s})
        except OSError as error:
            self._broken = True
            log.warning("%s cannot be written, pages will not see this robot: %s", self._path, error.strerror or error)


def file_name(robot: str) -> str:
    """Return the name of a robot's file, which stays in its folder whatever the robot is called."""
    plain = quote(robot, safe="").replace(".", "%2E")
    long = len(plain) > 100
    return f"{plain[:60]}-{hashlib.sha256(robot.encode()).hexdigest()[:16]}.json" if long else f"{plain}.json"


def _asked(what: str, question: str, answer: str, said: bool | None, probability: float | None) -> dict[str, Any]:
    return {"what": what, "question": question[:300], "answer": answer[:300], "said": said, "probability": probability}


def _picture(image_HWC: Image) -> str:
    height, width = image_HWC.shape[:2]
    factor = min(1.0, PICTURE_PX / max(height, width))
    small = resized(image_HWC, (max(1, round(width * factor)), max(1, round(height * factor))))
    data = simplejpeg.encode_jpeg(small.copy(order="C"), quality=_QUALITY, colorspace="RGB", colorsubsampling="444")
    return base64.b64encode(data).decode()
