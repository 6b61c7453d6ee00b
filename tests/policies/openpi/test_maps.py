from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from soar.errors import ConfigError, ModelServerError, UnknownNameError

from .servers import CHUNK, config, seen

URL = "ws://127.0.0.1:8000"


def actions(answer: Any, **changes: Any) -> Any:
    return config(URL, **changes).actions({"actions": np.asarray(answer, np.float32)})[0]


def test_an_observation_is_sent_under_the_servers_names_and_in_its_units() -> None:
    sent = config(
        URL,
        images={
            "cam/front": {"size": 32},
            "cam/wrist": {"size": 16, "camera": "black"},
            "cam/raw": {"size": None, "layout": "chw"},
        },
        state={"state": ["x", {"opening": [0, 0.04]}, {"opening": [0.0, -0.04]}, 7], "more": ["rx", "ry", "rz", "qw"]},
        prompt="task",
    ).message(seen(), "open the drawer")
    assert sent["task"] == "open the drawer"
    assert {key: (sent[key].shape, sent[key].dtype.name) for key in sent if key.startswith("cam")} == {
        "cam/front": ((32, 32, 3), "uint8"),
        "cam/wrist": ((16, 16, 3), "uint8"),
        "cam/raw": ((3, 48, 64), "uint8"),
    }
    assert sent["cam/front"][16, 16].tolist() == [77] * 3
    assert sent["cam/front"][0, 0].tolist() == [0] * 3, "padded, as the shape of a picture is kept"
    assert not sent["cam/wrist"].any()
    assert sent["state"] == pytest.approx([0.2, 0.04, -0.04, 7])
    turned = Rotation.from_euler("xyz", [0.1, 0.2, 0.3])
    assert sent["more"] == pytest.approx([*turned.as_rotvec(), turned.as_quat()[3]], abs=1e-6)
    assert "prompt" not in config(URL, prompt="").message(seen(), "open the drawer")


def test_actions_are_brought_to_metres_radians_and_an_opening() -> None:
    said = [[1, 0, 0, 9, 0, 0.5, -1.0], [0, -1, 0, 9, 0, 0, 1.1]]
    names = ["x", "y", "z", "unused", "roll", "yaw", {"gripper": [1, -1]}]
    assert actions(said, action=names, units={"m": 0.05, "rad": 0.5}) == pytest.approx(
        np.array([[0.05, 0, 0, 0, 0, 0.25, 1], [0, -0.05, 0, 0, 0, 0, 0]])
    )


def test_motions_of_a_faster_policy_are_added_up() -> None:
    said = [[0.01, 0, 0, 0, 0, 0.1, 1], [0.02, 0, 0, 0, 0, 0.1, 0], [0, 0, 0.01, 0, 0, 0, 0], [0, 0, 0.01, 0, 0, 0, 1]]
    assert actions([*said, said[0]], rate_hz=10, execute=4) == pytest.approx(
        np.array([[0.03, 0, 0, 0, 0, 0.2, 0], [0, 0, 0.02, 0, 0, 0, 1]])
    )


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"action": CHUNK}, r"gives no 'actions' \(`answer`\); it gives: action"),
        ({}, "it gives: nothing"),
        ([1, 2], "it gives: list"),
        ({"actions": [["a"]]}, "no numbers"),
        ({"actions": [[1, 2], [3]]}, "no numbers"),
        ({"actions": CHUNK[0]}, r"shape \(7,\).*`action` names"),
        ({"actions": CHUNK[None]}, r"shape \(1, 3, 7\)"),
        ({"actions": CHUNK[:, :6]}, r"shape \(3, 6\), and a chunk of actions of 7 numbers"),
        ({"actions": np.zeros((3, 8))}, r"shape \(3, 8\)"),
        ({"actions": np.zeros((0, 7))}, "gives 0 actions, of which 2 are to be executed"),
        ({"actions": CHUNK[:1]}, "gives 1 actions, of which 2"),
        ({"actions": CHUNK * [np.nan] * 7}, "not finite"),
        ({"actions": CHUNK + np.full(7, np.inf)}, "not finite"),
        (
            {"actions": CHUNK * [50, 1, 1, 1, 1, 1, 1]},
            r"a motion of 1 m in one step, and at most 0\.1 m is believed.*units 1 m",
        ),
        ({"actions": CHUNK + np.eye(7)[4] * 2}, r"a motion of 2 rad"),
        ({"actions": CHUNK - np.eye(7)[6]}, r"-1 to 0 for the gripper, and `action` says 0 for closed and 1 for open"),
    ],
)
def test_an_answer_that_cannot_be_believed_is_no_action(answer: Any, words: str) -> None:
    with pytest.raises(ModelServerError, match=words):
        config(URL).actions(answer)


def test_another_number_of_actions_than_was_said_is_refused() -> None:
    assert config(URL).actions({"actions": CHUNK}, 3)[1] == 3
    with pytest.raises(ModelServerError, match=r"gives 3 actions, and 10 were expected \(`chunk`\)"):
        config(URL).actions({"actions": CHUNK}, 10)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"url": "http://127.0.0.1:8000"}, "ws:// or wss://"),
        ({"url": "ws://"}, "ws:// or wss://"),
        ({"url": "ws://host:port"}, "ws:// or wss://"),
        ({"url": "ws://me@host#there"}, "ws:// or wss://"),
        ({"images": {"a": {"camera": "a/b"}}}, "'a/b' is no name of a further camera"),
        ({"images": {"a": {"size": 0}}}, "1 to 4096"),
        ({"images": {}, "state": {}}, "name at least one picture"),
        ({"images": {"prompt": {}}}, "'prompt' is the name of two things"),
        ({"state": {"s": ["x", "speed"]}}, "there is no 'speed'; there are: x, y, z"),
        ({"state": {"s": [{"opening": [1, 1]}]}}, "two different numbers"),
        ({"action": ["x", "y", "z"]}, "name the gripper"),
        ({"action": [{"gripper": [0, 1]}]}, "at least one motion"),
        ({"action": ["x", "x", "gripper"]}, "'x' stands there twice"),
        ({"action": ["x", 3, "gripper"]}, "3.* is no name"),
        ({"action": [f"joint_{n}" for n in range(7)]}, "no workcell takes positions of joints"),
        ({"units": {"mm": 1}}, "there is no 'mm'; there are: m, rad"),
        ({"units": {"m": 0}}, "must be positive"),
        ({"longest": {"m": -1}}, "must be positive"),
        ({"rate_hz": 12}, "multiple of 5"),
        ({"rate_hz": 15, "execute": 4}, "Choose 3, 6, 9"),
        ({"execute": 0}, "Choose 1, 2, 3"),
        ({"chunk": 1}, r"2 of 1 actions \(`chunk`\) cannot be executed"),
        ({"timeout_s": 0}, "must be positive"),
        ({"action_std": [1.0]}, "7 positive numbers"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused_before_anybody_is_asked(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        config(**{"url": URL, **change})


def test_a_key_that_there_is_not_is_named() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'execute'"):
        config(URL, exekute=3)


def test_without_statistics_exploration_is_in_units_of_bridgedata() -> None:
    assert config(URL).std[0] == pytest.approx(0.00912848)
    assert config(URL, action_std=[0.1] * 7).std == pytest.approx([0.1] * 7)
