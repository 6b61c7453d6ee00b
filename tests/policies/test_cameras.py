"""Policies that look at several cameras: behind openpi's protocol, behind our own server, and probed."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from soar.collect.episode import run_episode
from soar.errors import ConfigError, ModelServerError, UnknownNameError
from soar.policies.base import cameras_of
from soar.policies.encoders import EncoderConfig
from soar.policies.learned import LearnedPolicy
from soar.policies.lineage import Lineage
from soar.policies.network import NetworkConfig, PolicyNetwork
from soar.policies.probing import probe
from soar.policies.remote import RemotePolicy
from soar.remote.client import RemoteConfig
from soar.robots.checks import Finding
from soar.robots.workcell import open_workcell
from soar.testing import FakePolicy, FakeRobot, check_policy
from soar.types import Goal, Observation
from tests.policies.openpi.servers import answering, config, opened, saying, seen
from tests.policies.test_probing import SITUATION
from tests.robots.test_workcell import cell

URL = "ws://127.0.0.1:8000"
IMAGES = {
    "front": {"size": 16},
    "hand": {"size": 8, "camera": "wrist"},
    "none": {"size": 8, "camera": "black"},
}


def both() -> Observation:
    return replace(seen(), extra_images={"wrist": np.full((20, 10, 3), 9, np.uint8)})


def test_each_picture_is_that_of_the_camera_that_the_file_names() -> None:
    file = config(URL, images=IMAGES)
    assert file.cameras == ("main", "wrist")
    sent = file.message(both(), "open the drawer")
    assert (sent["front"].max(), sent["hand"].max(), sent["none"].max()) == (77, 9, 0)
    assert sent["hand"].shape == (8, 8, 3)
    with pytest.raises(UnknownNameError, match="unknown camera 'wrist' Valid choices: main"):
        file.message(seen(), "open the drawer")
    assert config(URL, images={"hand": {"camera": "wrist"}}).cameras == ("wrist",)
    assert config(URL, images={"none": {"camera": "black"}}).cameras == ("main",)


def test_a_name_in_the_file_that_no_camera_has_is_refused() -> None:
    with pytest.raises(ConfigError, match="images: camera: 'a/b' is no name of a further camera"):
        config(URL, images={"hand": {"camera": "a/b"}})


def test_a_file_without_further_cameras_is_the_policy_that_it_was() -> None:
    with answering() as server:
        assert opened(server).id == opened(server, images={"observation/image": {"size": 32, "camera": "main"}}).id
        assert opened(server).id != opened(server, images={"observation/image": {"size": 32, "camera": "wrist"}}).id


def test_a_policy_of_several_cameras_keeps_the_contract_and_says_whose_pictures_it_wants() -> None:
    with answering() as server:
        policy = opened(server, images=IMAGES)
        assert cameras_of(policy) == ("main", "wrist")
        check_policy(policy)
        assert policy.describe()["pictures"] == "front of main, hand of wrist, none of black"
        policy.reset()
        policy.act([both()], ["open the drawer"])
        assert (server.asked[-1]["front"].max(), server.asked[-1]["hand"].max()) == (77, 9)


def test_a_workcell_without_the_camera_is_refused_before_anything_moves(tmp_path: Path) -> None:
    with answering() as server, open_workcell(cell(tmp_path)) as workcell:
        before = len(server.asked)
        policy = opened(server, images=IMAGES)
        with pytest.raises(ConfigError, match=r"the camera 'wrist', and workcell 'bench' has: main\. Name the camera in"):
            run_episode(workcell, policy, "open the drawer")
        assert len(server.asked) == before + 1  # when it was opened


def found(policy: Any, observation: Observation) -> dict[str, Finding]:
    ticks = itertools.count()
    situation = replace(SITUATION, observation=observation)
    return {one.check: one for one in probe(policy, situation, 5, clock=lambda: next(ticks) * 0.01)}


class Handy(FakePolicy):
    """Looks at the wrist camera, too; goes to where it is brighter."""

    cameras = ("main", "wrist")

    def act(self, observations: Any, goals: Any) -> Any:
        bright = [observation.picture("wrist").mean() / 25500 for observation in observations]
        return np.array([[x, 0, 0, 0, 0, 0, 1] for x in bright], np.float32)


def test_a_probe_shows_the_cameras_and_whether_each_is_looked_at() -> None:
    findings = found(Handy(), FakeRobot(cameras=("wrist", "side")).observe())
    assert (findings["cameras"].ok, findings["cameras"].detail) == (True, "looks at main, wrist; here is main, side, wrist")
    assert (findings["another picture"].ok, findings["another picture of wrist"].ok) == (None, True)
    with answering(saying()({})) as server:
        assert found(opened(server, images=IMAGES), both())["pictures"].detail.startswith("front of main")


def test_a_probe_of_a_policy_whose_camera_is_missing_ends_there() -> None:
    findings = found(Handy(), FakeRobot().observe())
    assert list(findings) == ["policy", "cameras"]
    assert findings["cameras"].ok is False
    assert "name wrist in the workcell's file" in findings["cameras"].advice


def wrist_policy(folder: Path) -> LearnedPolicy:
    network = PolicyNetwork(NetworkConfig(encoder=EncoderConfig(name="small", width=4), image_size=64, camera="wrist"))
    from soar.normalization import ActionStatistics

    statistics = ActionStatistics(mean=np.zeros(7, np.float32), std=np.full(7, 0.01, np.float32))
    return LearnedPolicy.save(folder, network, statistics, Lineage())


def test_a_policy_of_a_further_camera_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from soar.policies import remote
    from soar.serving.auth import Auth, AuthConfig
    from soar.serving.policies import policy_application
    from tests.serving.running import running
    from tests.serving.test_servers import SERVICE

    policy = wrist_policy(tmp_path)
    rng = np.random.default_rng(0)
    main, wrist, goal = (rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(3))
    state = np.zeros(7, np.float32)
    observation = Observation(image_HWC=main, state=state, extra_images={"wrist": wrist})
    goals: list[Goal] = [goal]
    with running(Auth(policy_application(policy, SERVICE), AuthConfig(token=None, bytes=2**20))) as url:
        served = RemotePolicy(RemoteConfig(url=url, timeout_s=60.0))
        assert cameras_of(served) == ("wrist",)
        np.testing.assert_allclose(served.act([observation], goals), policy.act([observation], goals), atol=1e-5)
        served.cameras = ("main",)  # a client that sends the main camera alone
        served.reset()
        with pytest.raises(ModelServerError, match="looks at the camera wrist, of which the request has no picture"):
            served._plan([observation], goals, [0])
        monkeypatch.setattr(remote, "SEVERAL_CAMERAS", remote.PROTOCOL)  # what the client of the version before understands
        with pytest.raises(ModelServerError, match=r"serves 'policy' \(protocol 2\)"):
            RemotePolicy(RemoteConfig(url=url))


@pytest.mark.interop
def test_an_exported_policy_looks_at_the_same_camera(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from soar.policies.onnx import ExportedPolicy
    from soar.policies.onnx_export import export_policy

    export_policy(wrist_policy(tmp_path / "p"), tmp_path / "p.onnx")
    assert cameras_of(ExportedPolicy.load(tmp_path / "p.onnx")) == ("wrist",)
