from __future__ import annotations

import ctypes.util
import gc
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from soar.errors import ConfigError, RenderingError
from soar.sim.rendering import INSTALL_COMMAND, Camera, choose_library, mujoco
from soar.sim.scene import load_scene
from soar.sim.world import World
from tests.improve.tiny import random_policy

DRAW = """
from soar.errors import RenderingError
try:
    from soar.sim.scene import load_scene
    from soar.sim.world import World
    world = World(load_scene("scene5"), image_size=32)
    world.home()
    print("physics works")
    world.render()
except RenderingError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("variables", "physics"),
    [
        ({"MUJOCO_GL": "disable"}, True),
        ({"MUJOCO_GL": "egl", "__EGL_VENDOR_LIBRARY_FILENAMES": "/nonexistent"}, True),  # EGL without a driver
        ({"MUJOCO_GL": "quartz"}, False),
    ],
    ids=["disabled", "no driver", "unknown"],
)
def test_without_a_rendering_library_one_error_says_what_to_install(variables: dict[str, str], physics: bool) -> None:
    process = subprocess.run(
        [sys.executable, "-c", DRAW], env=os.environ | variables, capture_output=True, text=True, check=True
    )
    lines = process.stdout.splitlines()
    assert (lines[0] == "physics works") is physics
    assert INSTALL_COMMAND in lines[-1]
    assert "apt-get install" in lines[-1]
    assert process.stderr == ""


def test_a_machine_without_libraries_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUJOCO_GL")
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    with pytest.raises(RenderingError, match=r"no headless rendering library .* sudo apt-get install"):
        choose_library()


def test_a_renderer_that_ctrl_c_leaves_half_made_frees_its_context_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def ctrl_c(*_: object) -> None:
        raise KeyboardInterrupt

    def contexts() -> int:
        return sum(type(thing).__name__ == "GLContext" for thing in gc.get_objects())

    model, before = World(load_scene("scene5"), image_size=32).model, contexts()
    monkeypatch.setattr(mujoco, "MjrContext", ctrl_c)
    with pytest.raises(KeyboardInterrupt) as kept:  # as the command keeps it, with all frames, until it has said how to go on
        Camera(model, 32)
    assert contexts() == before
    assert kept.tb is not None


@pytest.mark.parametrize("size", [1, 48, 200, 600])
def test_the_camera_has_any_resolution(size: int) -> None:
    world = World(load_scene("scene1"), image_size=size)
    image = world.render()
    world.close()
    assert image.shape == (size, size, 3)
    assert image.dtype == np.uint8
    assert 40 < image.mean() < 220


def test_an_image_without_pixels_is_refused() -> None:
    with pytest.raises(ConfigError, match="image_size is 0"):
        World(load_scene("scene1"), image_size=0).render()


def test_several_cameras_in_one_process_do_not_disturb_each_other() -> None:
    first = World(load_scene("scene1"), image_size=32)
    picture = first.render()
    for number in (2, 3):
        other = World(load_scene(f"scene{number}"), image_size=200)
        assert other.render().mean() > 20
        assert np.array_equal(first.render(), picture)
        if number == 2:
            other.close()
        del other  # scene 3 leaves its camera to the garbage collector
        assert np.array_equal(first.render(), picture)


def test_the_finger_tips_can_be_seen_at_64_pixels() -> None:
    world = World(load_scene("scene1"), image_size=64)
    image = world.render().astype(int)
    cyan = (image[..., 1] - image[..., 0] > 50) & (image[..., 2] - image[..., 0] > 50)
    assert cyan.sum() >= 6


AFTER_TORCH = """
import sys
from soar.policies.loading import load_policy
from soar.robots.workcell import open_workcell
policy = load_policy(sys.argv[1])
workcell = open_workcell("sim:scene1", image_size=64)
seen = workcell.robot.observe()
policy.act([seen], [seen.image_HWC])
"""


def test_a_script_that_opens_a_policy_and_then_a_simulated_robot_ends_without_a_word(tmp_path: Path) -> None:
    command = [sys.executable, "-c", AFTER_TORCH, str(random_policy(tmp_path / "policy"))]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")
