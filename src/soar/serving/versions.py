"""Versions of one model, side by side while whoever asks changes over from one to the next.

    a request with `Soar-Model: ID`   ─► the version of that id; `Soar-Newest` of the answer says which one is newer
    any other request                 ─► the newest

An episode that began with a version ends with it. One that is not the newest is given up when nobody has asked for it for
`KEEP_S`; whoever still names it then gets the newest, whose id is in the answer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from fastapi import FastAPI

from soar.remote.client import NEWEST, WANTED
from soar.serving.auth import Message, Receive, Scope, Send

KEEP_S = 120.0


@dataclass(slots=True, eq=False)
class _Version:
    app: FastAPI
    id: str
    asked_s: float
    requests: int = 0


class Versions:
    """An ASGI application: that of the version that is asked for.

    Args:
        app: Of the first version (`soar.serving.application.new_application`).
        id: Of its model.
        clock: Seconds, never going back.
    """

    def __init__(self, app: FastAPI, id: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._changing = clock, threading.Lock()
        self._versions = [_Version(app, id, clock())]

    @property
    def ids(self) -> list[str]:
        """The versions that are there, the newest last."""
        return [version.id for version in self._versions]

    def add(self, app: FastAPI, id: str) -> None:
        """Take a newer version; may be called from another thread. The one that was newest stays while it is asked for."""
        now_s = self._clock()
        with self._changing:
            self._versions[-1].asked_s = now_s
            self._versions = [*(version for version in self._versions if version.id != id), _Version(app, id, now_s)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the version answer that is asked for."""
        if scope["type"] != "http":  # that the server begins, and ends
            await self._versions[-1].app(scope, receive, send)
            return
        self._give_up()
        versions = self._versions
        wanted = {value.decode("latin-1") for name, value in scope["headers"] if name == WANTED.lower().encode()}
        chosen = next((version for version in versions if version.id in wanted), versions[-1])
        newest = versions[-1].id

        async def naming(message: Message) -> None:
            if message["type"] == "http.response.start" and chosen.id != newest:
                headers = [*message.get("headers", ()), (NEWEST.lower().encode(), newest.encode("latin-1", "replace"))]
                message = {**message, "headers": headers}
            await send(message)

        chosen.requests += 1
        try:
            await chosen.app(scope, receive, naming)
        finally:
            chosen.requests -= 1
            chosen.asked_s = self._clock()

    def _give_up(self) -> None:
        now_s = self._clock()
        with self._changing:
            gone = [one for one in self._versions[:-1] if not one.requests and now_s - one.asked_s > KEEP_S]
            self._versions = [one for one in self._versions if one not in gone]
        for version in gone:
            version.app.state.close()
