"""What was asked before, and what it cost: one SQLite file that any number of processes and threads may share.

An answer is found again by the model, the image's digest and the prompt, so an equal question costs no call, after a restart
either. The tally of calls and tokens is in the same file: a cap holds for all robots that share it, and for all their restarts.
A call is booked before it is made; its tokens are known only afterwards, so calls under way may exceed the cap on tokens.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from soar.errors import BudgetError, ConfigError
from soar.types import Image
from soar.vlm.base import Answer

_SCHEMA = 1
_WAIT_S = 30.0
"""Longest that one process waits for another one's write."""


def digest(image_HWC: Image) -> str:
    """Return what tells an image from all others."""
    head = f"{image_HWC.shape}{image_HWC.dtype}".encode()
    return hashlib.sha256(head + image_HWC.tobytes()).hexdigest()


class ResponseCache:
    """Answers and spending.

    Args:
        path: The file, made when it does not exist; None keeps everything in memory.
        max_calls: Most calls that the file may come to; None: no cap.
        max_tokens: Most tokens that the file may come to, those of prompts included; None: no cap.

    Raises:
        ConfigError: The file cannot be written, is something else, or was written by another version.
    """

    def __init__(self, path: Path | None = None, *, max_calls: int | None = None, max_tokens: int | None = None) -> None:
        self._path, self._max_calls, self._max_tokens = path, max_calls, max_tokens
        self._lock = threading.Lock()
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path or ":memory:", timeout=_WAIT_S, check_same_thread=False, isolation_level=None)
            (version,) = self._database.execute("PRAGMA user_version").fetchone()
            if version not in (0, _SCHEMA):
                raise ConfigError(
                    f"{path}: written by another version of SOAR (schema {version}, this one reads {_SCHEMA}). Name "
                    "another file under `cache`"
                )
            with self._writing() as database:
                database.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL)")
                database.execute("CREATE TABLE IF NOT EXISTS spent (id INTEGER PRIMARY KEY, calls INTEGER, tokens INTEGER)")
                database.execute("INSERT OR IGNORE INTO spent VALUES (0, 0, 0)")
                database.execute(f"PRAGMA user_version = {_SCHEMA}")
        except (sqlite3.Error, OSError) as error:
            raise ConfigError(f"{path}: cannot be used to keep answers ({error}). Name another file under `cache`.") from error

    def find(self, *key: str) -> Answer | None:
        """Return the answer to what `key` says: model, image, prompt, and whatever else changes the answer."""
        with self._lock:
            row = self._database.execute("SELECT answer FROM answers WHERE key = ?", (_digest(key),)).fetchone()
        return None if row is None else Answer(**json.loads(row[0]))

    def keep(self, answer: Answer, *key: str) -> None:
        """Remember an answer; the newest counts."""
        text = json.dumps(dataclasses.asdict(answer))
        with self._writing() as database:
            database.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (_digest(key), text))

    def book(self) -> None:
        """Book one call.

        Raises:
            BudgetError: The cap on calls or tokens is reached; the call must not be made.
        """
        with self._writing() as database:
            calls, tokens = database.execute("SELECT calls, tokens FROM spent").fetchone()
            for name, spent, cap in (("calls", calls, self._max_calls), ("tokens", tokens, self._max_tokens)):
                if cap is not None and spent >= cap:
                    raise BudgetError(
                        f"the cap of {cap} {name} is reached ({self._path or 'in memory'}: {calls} calls, {tokens} tokens). "
                        f"Raise `max_{name}` in the model's file to go on; answers that are known cost nothing."
                    )
            database.execute("UPDATE spent SET calls = calls + 1")

    def add_tokens(self, count: int) -> None:
        """Add what a call turned out to cost."""
        with self._writing() as database:
            database.execute("UPDATE spent SET tokens = tokens + ?", (count,))

    @property
    def spent(self) -> tuple[int, int]:
        """Calls and tokens so far."""
        with self._lock:
            calls, tokens = self._database.execute("SELECT calls, tokens FROM spent").fetchone()
        return int(calls), int(tokens)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")


def _digest(key: tuple[str, ...]) -> str:
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()
