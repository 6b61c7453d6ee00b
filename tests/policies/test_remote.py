"""The client of a policy server: what it does when the server is away, or says something else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from soar.errors import ConfigError, ModelServerError, UnknownNameError
from soar.policies.exploration import ExplorationConfig, Explorer
from soar.policies.loading import load_policy
from soar.policies.remote import HOLD, RemotePolicy
from soar.remote import fallbacks
from soar.remote.client import RemoteConfig
from soar.types import Observation
from tests.scripted import Scripted, scripted

ABOUT = {
    "kind": "policy",
    "protocol": 1,
    "model": "gcbc-1",
    "conditioning": "goal",
    "execute": 2,
    "action_std": [0.01] * 6 + [1.0],
}
IMAGE = np.zeros((8, 8, 3), np.uint8)
CHUNK = [[0.01, 0, 0, 0, 0, 0, 1.0], [0.02, 0, 0, 0, 0, 0, 0.0]]


@pytest.fixture(scope="module")
def script() -> Iterator[Scripted]:
    with scripted() as running:
        yield running


def opened(script: Scripted, **changes: Any) -> RemotePolicy:
    script.says(model=ABOUT)
    return RemotePolicy(RemoteConfig(url=script.url, **{"retries": 0, "probe_every_s": 0.0, **changes}))


def plans(script: Scripted, *chunks: Any, model: str = "gcbc-1") -> None:
    script.says(model=ABOUT, actions={"model": model, "chunks": list(chunks)})


def seen(opening: float = 1.0) -> Observation:
    return Observation(image_HWC=IMAGE, state=np.array([0.2, 0, 0.1, 0, 0, 0, opening], np.float32))


def test_a_chunk_is_asked_for_once_and_executed_here(script: Scripted) -> None:
    policy = opened(script)
    plans(script, CHUNK)
    before = len(script.paths)
    actions = [policy.act([seen()], [IMAGE])[0] for _ in range(4)]
    assert [round(float(action[0]), 3) for action in actions] == [0.01, 0.02, 0.01, 0.02]
    assert script.paths[before:] == ["/v1/actions"] * 2
    assert actions[0].dtype == np.float32


def test_the_robot_holds_still_with_the_gripper_as_it_was_until_the_server_is_back(script: Scripted) -> None:
    policy = opened(script)
    plans(script, CHUNK)
    policy.act([seen()], [IMAGE])
    policy.act([seen()], [IMAGE])
    script.status = 503
    with fallbacks.heard() as heard:
        held = [policy.act([seen(0.4)], [IMAGE])[0] for _ in range(3)]
    assert [action.tolist() for action in held] == [[0.0] * 7] * 3, "closed, as the last action said"
    assert {(found.model, found.instead) for found in heard} == {("gcbc-1", HOLD)}
    plans(script, CHUNK)
    assert float(policy.act([seen()], [IMAGE])[0][0]) == pytest.approx(0.01)


@pytest.mark.parametrize(("opening", "target"), [(1.0, 1.0), (0.2, 0.0)])
def test_at_the_beginning_of_an_episode_the_gripper_stays_as_it_is_seen(
    script: Scripted, opening: float, target: float
) -> None:
    policy = opened(script)
    plans(script, CHUNK)
    policy.act([seen()], [IMAGE])
    policy.reset()
    script.status = 503
    with fallbacks.heard():
        assert policy.act([seen(opening)], [IMAGE]).tolist() == [[0.0] * 6 + [target]]


def test_exploration_does_not_move_a_robot_that_holds(script: Scripted) -> None:
    policy = opened(script)
    config = ExplorationConfig(deterministic_probability=0, sigma=1, flip_open_probability=1, level_rotation_rad=(0.1, 0.1))
    explorer = Explorer(policy, config, action_std=policy.action_std, seed=0)
    explorer.reset()
    script.status = 503
    with fallbacks.heard():
        for _ in range(5):
            assert explorer.act([seen()], [IMAGE]).tolist() == [[0.0] * 6 + [1.0]]
    plans(script, CHUNK)
    assert explorer.act([seen()], [IMAGE])[0][0] != pytest.approx(0.01), "otherwise it explores"


def test_a_measurement_stops_and_so_does_who_wants_it(script: Scripted) -> None:
    policy = opened(script)
    script.status = 500
    with fallbacks.forbidden(), pytest.raises(ModelServerError, match="must not go on without it"):
        policy.act([seen()], [IMAGE])
    strict = opened(script, when_away="stop")
    script.status = 500
    with pytest.raises(ModelServerError, match="status 500"):
        strict.act([seen()], [IMAGE])


def test_it_says_what_goals_it_follows_before_it_asks_anybody(script: Scripted) -> None:
    policy = opened(script)
    before = len(script.paths)
    with pytest.raises(ConfigError, match="gcbc-1 follows goal images"):
        policy.act([seen()], ["open the drawer"])
    assert len(script.paths) == before


VALUES = st.recursive(
    st.none()
    | st.floats()
    | st.integers(-(10**30), 10**30)
    | st.text(max_size=3)
    | st.sampled_from([CHUNK, CHUNK[:1], CHUNK[0]]),
    lambda x: st.lists(x, max_size=3),
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(VALUES)
def test_nothing_that_a_server_says_moves_a_robot_unless_it_is_an_action(script: Scripted, chunks: Any) -> None:
    policy = opened(script)
    script.says(model=ABOUT, actions={"model": "gcbc-1", "chunks": chunks})
    with fallbacks.heard() as heard:
        action_BD = policy.act([seen()], [IMAGE])
    assert action_BD.shape == (1, 7)
    assert np.isfinite(action_BD).all()
    assert heard == [] or not action_BD[:, :6].any()


@pytest.mark.parametrize(
    "wrong",
    [
        {"conditioning": "touch"},
        {"execute": 0},
        {"execute": "2"},
        {"action_std": [0.0] * 7},
        {"action_std": [float("nan")] * 7},
        {"action_std": None},
        {"model": ""},
    ],
)
def test_a_server_that_describes_no_policy_is_refused(script: Scripted, wrong: dict[str, Any]) -> None:
    script.says(model={**ABOUT, **wrong})
    with pytest.raises(ModelServerError, match="does not describe a policy"):
        RemotePolicy(RemoteConfig(url=script.url))


def test_it_is_named_by_a_url_or_a_yaml_file(script: Scripted, tmp_path: Any) -> None:
    script.says(model=ABOUT)
    assert load_policy(script.url).id == "gcbc-1"
    path = tmp_path / "policy.yaml"
    path.write_text(f"backend: remote\nurl: {script.url}\nretries: 0\n")
    assert load_policy(str(path)).conditioning == "goal"
    path = tmp_path / "other.yaml"
    path.write_text("backend: remotely\n")
    with pytest.raises(UnknownNameError, match="did you mean 'remote'"):
        load_policy(str(path))
