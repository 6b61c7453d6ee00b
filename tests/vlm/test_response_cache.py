from __future__ import annotations

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from soar.errors import BudgetError, ConfigError
from soar.vlm.base import Answer
from soar.vlm.response_cache import ResponseCache, digest

ANSWER = Answer(text="yes", p_yes=0.7)


def test_an_answer_is_found_by_all_that_it_depends_on_and_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "new" / "answers.sqlite"
    ResponseCache(path).keep(ANSWER, "model", "image", "prompt")
    again = ResponseCache(path)
    assert again.find("model", "image", "prompt") == ANSWER
    assert again.find("other", "image", "prompt") is None
    assert again.find("model", "imageprompt") is None


def test_images_differ_by_content_and_by_shape() -> None:
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert digest(image) == digest(image.copy())
    assert digest(image) != digest(image.reshape(4, 2, 3))
    assert digest(image) != digest(image + 1)


def test_the_cap_on_calls_holds_for_all_threads_and_restarts(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    cache = ResponseCache(path, max_calls=10)

    def book(_: int) -> bool:
        try:
            cache.book()
        except BudgetError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(book, range(40))) == 10
    with pytest.raises(BudgetError, match=r"the cap of 10 calls is reached.*Raise `max_calls`"):
        ResponseCache(path, max_calls=10).book()
    ResponseCache(path, max_calls=11).book()


def test_the_cap_on_tokens(tmp_path: Path) -> None:
    cache = ResponseCache(tmp_path / "a.sqlite", max_tokens=100)
    cache.book()
    cache.add_tokens(100)
    with pytest.raises(BudgetError, match="cap of 100 tokens"):
        cache.book()
    assert cache.spent == (1, 100)


def test_a_process_that_is_killed_leaves_what_it_had_booked(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    script = (
        "import os, signal, sys; from pathlib import Path; from soar.vlm.response_cache import ResponseCache\n"
        f"cache = ResponseCache(Path({str(path)!r})); cache.book(); cache.book()\n"
        "cache._database.execute('BEGIN IMMEDIATE'); cache._database.execute('UPDATE spent SET calls = 99')\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    assert ResponseCache(path).spent == (2, 0)


def test_a_file_that_is_something_else_is_refused_and_kept(tmp_path: Path) -> None:
    text, newer = tmp_path / "notes.txt", tmp_path / "newer.sqlite"
    text.write_text("this is not a database " * 100)
    with pytest.raises(ConfigError, match=r"notes\.txt: cannot be used to keep answers.*under `cache`"):
        ResponseCache(text)
    assert text.read_text().startswith("this is not")
    with sqlite3.connect(newer) as database:
        database.execute("PRAGMA user_version = 7")
    with pytest.raises(ConfigError, match="schema 7, this one reads 1"):
        ResponseCache(newer)
