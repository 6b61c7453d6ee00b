"""`soar serve` as people run it: processes that are started, ended and started again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx2
import numpy as np
import pytest

from soar.errors import ConfigError
from soar.policies.remote import HOLD, RemotePolicy
from soar.remote import fallbacks
from soar.remote.client import RemoteConfig
from soar.serving.listening import listen
from soar.serving.replicas import check_accelerators
from soar.types import Observation
from tests.improve.tiny import random_policy

Fails = Callable[..., str]
IMAGE = np.zeros((64, 64, 3), np.uint8)
SEEN = Observation(image_HWC=IMAGE, state=np.array([0.27, 0.0, 0.12, 0.0, 0.0, 0.0, 1.0], np.float32))


@contextmanager
def soar_serve(
    folder: Path, *flags: str, token: str = "", stderr: IO[str] | None = None
) -> Iterator[tuple[list[str], subprocess.Popen[str]]]:
    """Yield what it says before it is ready, and the process."""
    command = [sys.executable, "-m", "soar.cli", "serve", "policy", "--model", str(folder), *flags]
    environment = {name: value for name, value in os.environ.items() if name != "SOAR_TOKEN"}
    environment |= {"SOAR_TOKEN": token} if token else {}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True) as process:
        assert process.stdout is not None
        try:
            said = []
            for line in process.stdout:
                said.append(line.strip())
                if " is served at " in line:
                    break
            yield said, process
        finally:
            process.terminate()
            process.stdout.read()


def test_a_server_that_is_started_again_in_the_middle_of_an_episode_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = random_policy(tmp_path / "policy")
    with soar_serve(folder, "--port", "0") as (said, process):
        token = said[0].removeprefix("clients need the token: export SOAR_TOKEN=")
        url = said[1].split()[-1]
        assert len(token) > 30
        assert url.startswith("http://127.0.0.1:"), "nobody else can ask unless told so"
        monkeypatch.setenv("SOAR_TOKEN", token)
        policy = RemotePolicy(RemoteConfig(url=url, retries=0, probe_every_s=0.0, timeout_s=60.0))
        first = policy.act([SEEN], [IMAGE])
        process.terminate()
        assert process.wait() == 143
    with fallbacks.heard() as heard:
        held = policy.act([SEEN], [IMAGE + 1])
    assert [fallback.instead for fallback in heard] == [HOLD]
    assert not held[0, :6].any()
    with soar_serve(folder, "--port", url.rpartition(":")[2], token=token) as (said, _):
        assert len(said) == 1, "a token that was given is not shown"
        with fallbacks.heard() as heard:
            np.testing.assert_allclose(policy.act([SEEN], [IMAGE]), first, atol=1e-5)
        assert heard == []


def test_replicas_behind_one_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    folder = random_policy(tmp_path / "policy")
    token = "0123456789abcdef"
    monkeypatch.setenv("SOAR_TOKEN", token)
    with listen("127.0.0.1", 0) as listener:
        port = str(listener.getsockname()[1])
    stderr = tmp_path / "stderr"
    with stderr.open("w") as file, soar_serve(folder, "--port", port, "--replicas", "1", token=token, stderr=file) as run:
        said, process = run
        url = said[-1].split()[-1]
        policy = RemotePolicy(RemoteConfig(url=url, timeout_s=60.0))
        assert policy.act([SEEN], [IMAGE]).shape == (1, 7)
        assert httpx2.get(f"{url}/health", timeout=600).json() == {"status": "ok"}
        assert httpx2.get(f"{url}/v1/model", timeout=600).status_code == 401
        assert "Ray listens on all interfaces" in stderr.read_text()
        process.terminate()
        assert process.wait() == 143


def test_more_replicas_than_accelerators_are_refused_instead_of_waited_for() -> None:
    check_accelerators(8, 0, 0)
    check_accelerators(4, 1, 4)
    check_accelerators(8, 0.5, 4)
    check_accelerators(2, 2, 4)
    with pytest.raises(ConfigError, match=r"4 replicas of --gpus 1 need .* \(2\): there is room for 2\. Ask for fewer"):
        check_accelerators(4, 1, 2)
    with pytest.raises(ConfigError, match="there is room for 2"):
        check_accelerators(3, 0.6, 2)


def test_what_cannot_be_served_is_one_message(fails: Fails, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOAR_TOKEN", "short")
    assert "a token is at least 16 ASCII characters" in fails("serve", "policy")
    monkeypatch.delenv("SOAR_TOKEN")
    assert "there is no policy at" in fails("serve", "policy", "--model", tmp_path / "none")
    assert "--port must lie between" in fails("serve", "policy", "--port", "70000")
    folder = random_policy(tmp_path / "policy")
    with listen("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1:{port}" in fails("serve", "policy", "--model", folder, "--port", port)
    assert "--replicas needs a --port" in fails("serve", "policy", "--model", folder, "--port", "0", "--replicas", "2")
    alone = ("serve", "policy", "--model", folder, "--no-require-token", "--replicas", "1")
    assert "needs the token, because Ray listens on all interfaces" in fails(*alone)
    assert "cannot use the device 'cuda:99'" in fails("serve", "policy", "--model", folder, "--device", "cuda:99")
    assert "max_batch and most_waiting must be positive" in fails("serve", "policy", "--max-batch", "0")
    assert "must begin with http" in fails("collect", "--run", tmp_path / "run", "--policy", write(tmp_path))


def write(folder: Path) -> Path:
    path = folder / "remote.yaml"
    path.write_text("backend: remote\nurl: localhost\n")
    return path
