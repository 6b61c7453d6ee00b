"""openpi's released server and client, in an environment of their own. `make test-interop` runs this."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from soar.policies.openpi.policy import OpenPIPolicy
from soar.remote.client import ModelAwayError
from soar.robots.safety import SafetyError
from soar.testing import check_policy
from soar.testing.openpi_server import OpenPIServer
from soar.types import Observation
from tests.interop.conftest import ROOT
from tests.policies.openpi.servers import config

pytestmark = [pytest.mark.interop, pytest.mark.timeout(1800)]
FILE: dict[str, Any] = {
    "images": {"observation/image": {"size": 224}},
    "state": {"observation/state": ["x", "y", "z", "roll", "pitch", "yaw", "opening"]},
    "chunk": 10,
    "execute": 4,
}
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def python() -> str:
    """The Python of that environment."""
    made = subprocess.run([ROOT / "scripts" / "peer.sh", "openpi"], check=True, stdout=subprocess.PIPE, text=True)
    return made.stdout.strip()


@pytest.fixture
def served(python: str) -> Iterator[str]:
    """The address of the released server."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    script = Path(__file__).with_name("peer_openpi.py")
    with subprocess.Popen([python, str(script), "serve", str(port)], env=os.environ | {"PYTHONPATH": ""}) as process:
        yield f"ws://127.0.0.1:{port}"
        process.kill()


def opened(url: str) -> OpenPIPolicy:
    end_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            return OpenPIPolicy(config(url, **FILE))
        except ModelAwayError:
            if time.monotonic() > end_s:
                raise
        time.sleep(0.1)


def test_a_policy_behind_the_released_server_acts_and_what_it_raises_is_said(served: str) -> None:
    policy = opened(served)
    check_policy(policy)
    assert policy.describe()["server"].endswith('says {"policy": "moving"}')
    seen = Observation(image_HWC=np.zeros((48, 64, 3), np.uint8), state=np.array([0.2, 0, 0.1, 0, 0, 0, 1], np.float32))
    policy.reset()
    assert policy.act([seen], ["open the drawer"])[0] == pytest.approx([0.01, 0, 0, 0, 0, 0, 1])
    policy.reset()
    with pytest.raises(SafetyError, match="failed: ValueError: told to fail"):
        policy.act([seen], ["fail"])
    policy.reset()
    assert policy.act([seen], ["open the drawer"])[0, 0] == pytest.approx(0.01), "it goes on after a failure"


def test_the_released_client_understands_the_server_that_tests_use(python: str) -> None:
    with OpenPIServer(lambda observation: {"actions": observation["image"] / np.float32(2)}, {"policy": "halves"}) as server:
        script = Path(__file__).with_name("peer_openpi.py")
        environment = os.environ | {"PYTHONPATH": ""}
        done = subprocess.run(
            [python, str(script), "ask", str(server.port)], env=environment, capture_output=True, text=True, check=True
        )
    said = json.loads(done.stdout)
    assert said["metadata"] == {"policy": "halves"}
    assert said["actions"] == ["float32", (np.arange(12).reshape(2, 2, 3) / 2).tolist()]
