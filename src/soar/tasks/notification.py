"""Tells a person, far away, that somebody has to come (§G): one message by webhook, Slack's or any other.

About an object that fell off the table it is sent aside: a robot does not wait for a messenger. One that cannot be recovered
does: it stands still anyway, and its process is about to end. What cannot be delivered is logged.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

import httpx2

from soar.errors import ConfigError
from soar.remote.transport import ReplyLimits, open_client

log = logging.getLogger(__name__)
_TIMEOUT_S = 10.0
_TRIES = 3
_REPLY = ReplyLimits(bytes=2**16)


class MissingObjectWebhook:
    """Called with an object's name, it posts {"text": …}; see `soar.tasks.detection.PresenceChecker`.

    Args:
        url: Of the webhook.
        robot: Which robot's table it is.
        wait_s: Before the second try; doubled before each further one.
    """

    def __init__(self, url: str, robot: str, wait_s: float = 5.0) -> None:
        self._url, self._robot, self._wait_s = url, robot, wait_s
        self._sending: list[threading.Thread] = []

    def __call__(self, name: str) -> None:
        """Send one message, aside."""
        log.warning("%s: %s is missing from the table; its tasks are off limits until it is back", self._robot, name)
        text = f"{self._robot}: the {name} is missing from the table. Its tasks are off limits until somebody puts it back."
        thread = tell_person(self._url, text, self._wait_s)
        self._sending = [*(other for other in self._sending if other.is_alive()), thread]

    def flush(self) -> None:
        """Wait until all messages are sent or given up."""
        for thread in self._sending:
            thread.join()


def call_person(url: str, robot: str, why: str, *, wait_s: float = 5.0, on_sent: Callable[[], None] = lambda: None) -> None:
    """Tell a person that a robot stands still until somebody comes; returns when that is said, or given up.

    Args:
        url: Of the webhook.
        robot: Which.
        why: What is wrong.
        wait_s: Before the second try; doubled before each further one.
        on_sent: Called once the message was taken.
    """
    log.warning("%s waits for a person: %s", robot, why)
    tell_person(url, f"{robot} waits for a person and does not move: {why}", wait_s, on_sent=on_sent).join()


def tell_person(
    url: str,
    text: str,
    wait_s: float = 5.0,
    *,
    picture: str = "",
    on_sent: Callable[[], None] = lambda: None,
) -> threading.Thread:
    """Send one message to a webhook, aside; returns the thread that does it.

    Args:
        url: Of the webhook.
        text: For a person.
        wait_s: Before the second try; doubled before each further one.
        picture: `data:` URL of a picture, sent as `picture` beside the text; empty for none.
        on_sent: Called by that thread once the message was taken.
    """
    message = {"text": text} | ({"picture": picture} if picture else {})
    thread = threading.Thread(target=_send, args=(url, message, wait_s, on_sent), daemon=True)
    thread.start()
    return thread


def _send(url: str, message: Mapping[str, str], wait_s: float, on_sent: Callable[[], None]) -> None:
    for attempt in range(1, _TRIES + 1):
        try:
            with open_client(url, _TIMEOUT_S, _REPLY) as client:
                client.post(url, json=message).raise_for_status()
            on_sent()
            return
        except (httpx2.HTTPError, httpx2.StreamError, ConfigError, ValueError) as error:
            log.warning("the webhook did not take the message (%s), try %d of %d", error, attempt, _TRIES)
            if attempt < _TRIES:
                time.sleep(wait_s * 2 ** (attempt - 1))
