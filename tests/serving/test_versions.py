"""A new version of a model beside the one before: who began with that one ends with it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx2
import numpy as np
import pytest

from soar.remote import fallbacks
from soar.remote.client import NEWEST, RemoteConfig
from soar.serving.application import ServiceConfig
from soar.serving.auth import Auth, AuthConfig
from soar.serving.subgoals import subgoal_application
from soar.serving.versions import KEEP_S, Versions
from soar.subgoals.remote import RemoteSubgoals
from soar.types import Image
from tests.fleet.test_ledger import Clock

from .running import running

TOKEN = "correct-horse-battery"
IMAGE = np.zeros((16, 16, 3), np.uint8)
MINE = """
from pathlib import Path
import numpy as np

class Model:
    def __init__(self):
        self.id = Path(__file__).with_name("id").read_text()
        if self.id == "broken":
            raise SystemError("no such weights")
    def reset(self): pass
    def generate(self, images, instructions, seeds):
        return [np.full_like(image, len(self.id)) for image in images]
"""


class Grey:
    """Imagines one grey."""

    def __init__(self, level: int) -> None:
        self.id, self._level = f"grey-{level}", level

    def reset(self) -> None:
        """Nothing is kept."""

    def generate(self, images: Sequence[Image], instructions: Sequence[str], seeds: Sequence[int]) -> list[Image]:
        """Return it."""
        return [np.full_like(image, self._level) for image in images]


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOAR_TOKEN", TOKEN)


def opened(url: str) -> RemoteSubgoals:
    return RemoteSubgoals(RemoteConfig(url=url, retries=0, probe_every_s=0.0, timeout_s=60.0))


def level(model: RemoteSubgoals) -> int:
    return int(model.generate([IMAGE], ["open the drawer"], [0])[0].max())


def test_who_began_with_a_version_ends_with_it_hears_of_the_newer_one_and_begins_with_that() -> None:
    clock = Clock()
    versions = Versions(subgoal_application(Grey(10), ServiceConfig()), "grey-10", clock)
    with running(Auth(versions, AuthConfig(token=TOKEN, bytes=2**20))) as url, fallbacks.heard() as heard:
        early = opened(url)
        assert (level(early), early.replaced) == (10, "")
        versions.add(subgoal_application(Grey(20), ServiceConfig()), "grey-20")
        late = opened(url)
        for _ in range(3):
            clock.now_s += KEEP_S - 1
            assert (level(early), early.replaced) == (10, "grey-20")
            assert (late.id, level(late), late.replaced) == ("grey-20", 20, "")
        assert heard == []
        assert versions.ids == ["grey-10", "grey-20"]
        clock.now_s += KEEP_S + 1
        assert level(late) == 20
        assert versions.ids == ["grey-20"]
        level(early)  # as with a server that was started with another model
        assert [fallback.instead for fallback in heard] == ["previous subgoal"]
        assert early.replaced == "grey-20"
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert NEWEST not in httpx2.get(f"{url}/v1/model", headers=headers, timeout=600).headers


def test_a_server_that_is_told_so_loads_what_is_there_now_and_one_that_cannot_goes_on(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "id").write_text("first")
    command = [sys.executable, "-m", "soar.cli", "serve", "subgoal", "--model", "mine:Model", "--port", "0"]
    said, pipe = tmp_path / "said", subprocess.PIPE
    with said.open("w") as file, subprocess.Popen(command, cwd=tmp_path, stdout=pipe, stderr=file, text=True) as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().split()[-1]
            early = opened(url)
            for text, words in (("broken", "first goes on"), ("second one", "second one is served from now on")):
                (tmp_path / "id").write_text(text)
                process.send_signal(signal.SIGUSR1)
                while words not in said.read_text():
                    assert process.poll() is None
                    time.sleep(0.05)
            assert (level(early), early.replaced) == (len("first"), "second one")
            assert level(opened(url)) == len("second one")
        finally:
            process.terminate()
