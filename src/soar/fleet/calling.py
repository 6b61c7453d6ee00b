"""Calling a person: one line in the journal, one message, with the last picture that the robot sent.

    robot ── fault, with a picture ──► RUN/pictures/ROBOT.jpg ──► message {"text": …, "picture": "data:image/jpeg;base64,…"}

Slack's webhooks take texts alone: there the text names the file. The journal says `person_needed` when somebody is called and
`person_told` when the message was taken, so that a coordinator that begins again calls nobody twice, and forgets nobody.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import logging
from pathlib import Path
from typing import Any

from soar.episodes import jpeg
from soar.errors import SoarError
from soar.event_log import Journal
from soar.files import replacing
from soar.images import resized
from soar.tasks.notification import tell_person
from soar.types import Image

log = logging.getLogger(__name__)
_SIDE = 320
"""Longest side of a picture that travels [px]."""
_MOST = 2**18
_TEXT_ONLY = "https://hooks.slack.com/"


class PersonCaller:
    """Calls a person who should look at a robot.

    Args:
        url: Of the webhook; empty for none.
        fleet: Its name.
        journal: Of the run, beside which the pictures are.
    """

    def __init__(self, url: str, fleet: str, journal: Journal) -> None:
        self._url, self._fleet, self._journal = url, fleet, journal
        self._told: set[str] = set()

    def __call__(self, robot: str, why: str) -> None:
        """Call a person, once, however often this has to be tried.

        Raises:
            SoarError: The journal cannot be written; the message is on its way, and another call writes no other one.
        """
        told = robot in self._told
        self._told.add(robot)
        try:
            self._journal.append("person_needed", robot=robot, detail=why)
            self._told.discard(robot)
        finally:
            if not told:
                log.warning("%s waits for a person: %s", robot, why)
                self.tell(robot, why)

    def tell(self, robot: str, why: str) -> None:
        """Send the message, without a line in the journal that somebody is needed."""
        if not self._url:
            return
        self._send(robot, f"{self._fleet}: robot {robot} waits for a person and does not move: {why}", "person_told")

    def lost(self, robot: str) -> None:
        """Say that a robot is not heard of, or has not come yet; it may be well."""
        log.warning("%s is not heard of", robot)
        if self._url:
            words = "is not heard of: its computer or its network is away. It works as soon as it is heard of"
            self._send(robot, f"{self._fleet}: robot {robot} {words}", "lost_told")

    def _send(self, robot: str, text: str, event: str) -> None:
        picture = ""
        path = _picture_file(self._journal, robot)
        if path.exists() and self._url.startswith(_TEXT_ONLY):
            text += f" (its last picture: {path})"
        elif path.exists():
            with contextlib.suppress(OSError):  # the words matter more
                picture = f"data:image/jpeg;base64,{base64.b64encode(path.read_bytes()).decode()}"

        def sent() -> None:
            try:
                self._journal.append(event, robot=robot)
            except SoarError as error:
                log.warning("that a person was told of %s cannot be written down: %s", robot, error)

        tell_person(self._url, text, picture=picture, on_sent=sent)


def small_picture(image_HWC: Image) -> str:
    """Return a picture as it travels: a small JPEG in base64."""
    height, width = image_HWC.shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    small = resized(image_HWC, (max(1, round(width * scale)), max(1, round(height * scale))))
    return base64.b64encode(jpeg.encode(small)).decode()


def keep_picture(journal: Journal, robot: str, sent: Any) -> None:
    """Keep the picture that a robot sent, beside the journal; what is none is passed over."""
    if not isinstance(sent, str) or len(sent) > _MOST:
        return
    with contextlib.suppress(binascii.Error, ValueError, SoarError):
        data = base64.b64decode(sent, validate=True)
        if jpeg.size(data) is not None:
            with replacing(_picture_file(journal, robot)) as path:
                path.write_bytes(data)


def _picture_file(journal: Journal, robot: str) -> Path:
    return journal.path.parent / "pictures" / f"{robot}.jpg"
