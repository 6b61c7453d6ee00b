"""The client of a subgoal server: what it does when the server is away, or says something else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from soar.errors import ConfigError, ModelServerError, UnknownNameError
from soar.remote import fallbacks
from soar.remote.client import RemoteConfig
from soar.remote.wire import pack
from soar.subgoals.loading import load_subgoal_model
from soar.subgoals.remote import PREVIOUS, RemoteSubgoals
from tests.scripted import Scripted, scripted

IMAGES = [np.full((8, 8, 3), 20 * i, np.uint8) for i in range(4)]
ABOUT = {"kind": "subgoal", "protocol": 1, "model": "editor-1"}
TASK = "open the drawer"


@pytest.fixture(scope="module")
def script() -> Iterator[Scripted]:
    with scripted() as running:
        yield running


def opened(script: Scripted, **changes: Any) -> RemoteSubgoals:
    script.says(model=ABOUT)
    return RemoteSubgoals(RemoteConfig(url=script.url, **{"retries": 0, "probe_every_s": 0.0, **changes}))


def imagines(script: Scripted, *images: np.ndarray, model: str = "editor-1") -> None:
    script.says(model=ABOUT, subgoals={"model": model, "images": [pack(image) for image in images]})


def test_the_previous_subgoal_stands_in_until_the_server_is_back(script: Scripted) -> None:
    model = opened(script)
    imagines(script, IMAGES[1])
    first = model.generate([IMAGES[0]], [TASK], [0])[0]
    np.testing.assert_array_equal(first, IMAGES[1])
    script.status = 503
    with fallbacks.heard() as heard:
        np.testing.assert_array_equal(model.generate([IMAGES[2]], [TASK], [1])[0], IMAGES[1])
    assert [(found.model, found.instead) for found in heard] == [("editor-1", PREVIOUS)]
    assert "status 503" in heard[0].detail
    imagines(script, IMAGES[3])
    with fallbacks.heard() as heard:
        np.testing.assert_array_equal(model.generate([IMAGES[2]], [TASK], [2])[0], IMAGES[3])
    assert heard == []


def test_without_a_previous_one_of_this_task_and_episode_the_robot_stays_where_it_is(script: Scripted) -> None:
    model = opened(script)
    imagines(script, IMAGES[1])
    model.generate([IMAGES[0]], [TASK], [0])
    script.status = 503
    with fallbacks.heard():
        np.testing.assert_array_equal(model.generate([IMAGES[2]], ["close the drawer"], [1])[0], IMAGES[2])
        model.reset()
        goal = model.generate([IMAGES[2]], [TASK], [1])[0]
    np.testing.assert_array_equal(goal, IMAGES[2])
    assert goal is not IMAGES[2], "the camera's image belongs to the robot"


def test_another_model_behind_the_same_address_is_not_taken_for_the_old_one(script: Scripted) -> None:
    model = opened(script)
    imagines(script, IMAGES[1], model="editor-2")
    with fallbacks.heard() as heard:
        np.testing.assert_array_equal(model.generate([IMAGES[0]], [TASK], [0])[0], IMAGES[0])
    assert "serves editor-2 now" in heard[0].detail
    assert model.replaced == "editor-2"  # a fleet's robot opens the address anew before its next episode


def test_a_measurement_stops_and_so_does_who_wants_it(script: Scripted) -> None:
    model = opened(script)
    script.status = 500
    with fallbacks.forbidden(), pytest.raises(ModelServerError, match="a measurement must not go on without it"):
        model.generate([IMAGES[0]], [TASK], [0])
    strict = opened(script, when_away="stop")
    script.status = 500
    with pytest.raises(ModelServerError, match="status 500"):
        strict.generate([IMAGES[0]], [TASK], [0])


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5) | st.sampled_from([pack(IMAGES[0]), pack(IMAGES[0][:4])]),
        lambda x: st.lists(x, max_size=3) | st.dictionaries(st.sampled_from(["model", "images", "png", "raw"]), x, max_size=3),
    )
)
def test_nothing_that_a_server_says_stops_a_robot(script: Scripted, images: Any) -> None:
    model = opened(script)
    script.says(model=ABOUT, subgoals={"model": "editor-1", "images": images})
    with fallbacks.heard():
        (goal,) = model.generate([IMAGES[0]], [TASK], [0])
    assert (goal.dtype, goal.shape) == (np.uint8, (8, 8, 3))


@pytest.mark.parametrize("name", ["", 3, "a\nb", "x" * 600])
def test_a_server_that_cannot_name_its_model_is_refused(script: Scripted, name: Any) -> None:
    script.says(model={**ABOUT, "model": name})
    with pytest.raises(ModelServerError, match="does not name its subgoal model"):
        RemoteSubgoals(RemoteConfig(url=script.url))


def test_it_is_named_by_a_url_or_a_yaml_file(script: Scripted, tmp_path: Any) -> None:
    script.says(model=ABOUT)
    assert load_subgoal_model(script.url).id == "editor-1"
    path = tmp_path / "editor.yaml"
    path.write_text(f"backend: remote\nurl: {script.url}\nencoding: jpeg\n")
    assert load_subgoal_model(str(path)).id == "editor-1"
    path = tmp_path / "other.yaml"
    path.write_text(f"backend: remote\nurl: {script.url}\nencoding: gif\n")
    with pytest.raises(ConfigError, match=r"other\.yaml: encoding"):
        load_subgoal_model(str(path))
    path = tmp_path / "third.yaml"
    path.write_text("backend: remotely\n")
    with pytest.raises(UnknownNameError, match="did you mean 'remote'"):
        load_subgoal_model(str(path))
