"""Headless rendering: chooses a GL library before MuJoCo is imported, and keeps the cheapest good settings.

EGL works without a GPU (Mesa draws on the processor); OSMesa is the fallback. `MUJOCO_GL` overrides the choice.

A process can have several cameras; each frees its GL context when it is closed, garbage-collected, or when the process ends.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes.util
import os
import weakref

from soar.errors import ConfigError, RenderingError
from soar.types import Image

INSTALL_COMMAND = "sudo apt-get install -y libegl1 libegl-mesa0 libgl1-mesa-dri libopengl0"


def choose_library() -> str:
    """Set and return `MUJOCO_GL`: the first headless library that this machine has.

    Raises:
        RenderingError: There is none; the message holds the command that installs one.
    """
    chosen = os.environ.get("MUJOCO_GL")
    if not chosen:
        for name, library in (("egl", "EGL"), ("osmesa", "OSMesa")):
            if ctypes.util.find_library(library):
                chosen = name
                break
        else:
            raise RenderingError(f"no headless rendering library (EGL or OSMesa) was found. Install one: {INSTALL_COMMAND}")
        os.environ["MUJOCO_GL"] = chosen
    if chosen == "egl":
        os.environ.setdefault("PYOPENGL_PLATFORM", "egl")
    # One thread draws faster than many at these sizes, and leaves the other cores to other robots.
    os.environ.setdefault("LP_NUM_THREADS", "0")
    return chosen


try:
    choose_library()
except RenderingError:
    # Physics works without a library; `Camera` says what to install when a picture is asked for.
    os.environ["MUJOCO_GL"] = "disable"

import cv2  # noqa: E402
import numpy as np  # noqa: E402

try:
    import mujoco
except Exception as error:  # every GL binding raises its own
    raise RenderingError(
        f"MUJOCO_GL={os.environ['MUJOCO_GL']} does not work here ({error}). Unset it, or install a library: {INSTALL_COMMAND}"
    ) from error

__all__ = ["Camera", "choose_library", "mujoco"]

SUPERSAMPLED_BELOW = 160
"""Smaller images are drawn at twice their size and averaged: multisampling costs more on a processor."""


class _Renderer(mujoco.Renderer):  # type: ignore[misc]
    """One that may be left half made, as Ctrl-C leaves it: its GL context is freed at once, not after the GL library."""

    def __init__(self, model: mujoco.MjModel, size: int) -> None:
        try:
            super().__init__(model, height=size, width=size)
        except BaseException:
            self.__del__()
            raise

    def __del__(self) -> None:
        # The end of the process may have freed the GL library before; what is wrong then helps nobody.
        with contextlib.suppress(Exception):
            super().__del__()


class Camera:
    """Draws the cameras of a model: `front`, and others if it has some.

    Args:
        model: The compiled scene; its off-screen buffer is enlarged when the image needs it.
        image_size: Height and width in pixels.

    Raises:
        ConfigError: The image has no pixels.
        RenderingError: No headless rendering library works here.
    """

    def __init__(self, model: mujoco.MjModel, image_size: int) -> None:
        if image_size < 1:
            raise ConfigError(f"image_size is {image_size}; at least 1 pixel is needed")
        self._double = image_size < SUPERSAMPLED_BELOW
        size = image_size * 2 if self._double else image_size
        buffer = model.vis.global_
        buffer.offwidth, buffer.offheight = max(buffer.offwidth, size), max(buffer.offheight, size)
        try:
            self._renderer = _Renderer(model, size)
        except Exception as error:  # every GL binding raises its own
            raise RenderingError(
                f"headless rendering failed ({error}). Install a library: {INSTALL_COMMAND}. If there is one, MuJoCo "
                "was imported before soar.sim could choose it: import soar.sim.rendering first, or set MUJOCO_GL=egl."
            ) from error
        self._close = weakref.finalize(self, _close, self._renderer)
        # Exit handlers run last in, first out, and those of `weakref` count from its first use by anybody: the renderer has to
        # be freed before the GL library that it needs.
        self._close.atexit = False
        atexit.register(self._close)
        flags = self._renderer.scene.flags
        for flag in ("SHADOW", "REFLECTION", "SKYBOX", "FOG", "HAZE"):
            flags[int(getattr(mujoco.mjtRndFlag, f"mjRND_{flag}"))] = 0

    def render(self, data: mujoco.MjData, camera: str = "front") -> Image:
        """Return (H, W, 3) uint8 RGB."""
        self._renderer.update_scene(data, camera=camera)
        image: Image = self._renderer.render()
        if self._double:
            size = image.shape[0] // 2
            image = np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA), np.uint8)
        return image

    def close(self) -> None:
        """Free the GL context."""
        self._close()
        atexit.unregister(self._close)


def _close(renderer: mujoco.Renderer) -> None:
    # Freeing deletes by number in whichever GL context is current, maybe another camera's; rendering makes this one current.
    renderer.render()
    renderer.close()
