"""Starts that a person restores: a reference picture of each, laid over what the camera sees now.

The first policy that is tried from a start decides how it looks: the picture that the camera sees when the person says that the
table is set is kept, once and for all, and later policies, in later evaluations too, begin from a table that is set like it:

    evaluations/starts/SCENE/TASK-SEED.png     the reference, see `soar.evaluation.runner.trial_seed`
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from soar.errors import SoarError
from soar.evaluation.trials import TrialKey
from soar.files import replacing
from soar.images import resized
from soar.types import Image


class Starts:
    """The reference pictures beside some evaluations.

    Args:
        folder: Of the evaluations.
        always: A picture of the one start that all trials have (a workcell's `reference`); None: each has its own.
    """

    def __init__(self, folder: Path, always: Path | None = None) -> None:
        self._folder, self._always = folder / "starts", always

    def path(self, key: TrialKey) -> Path:
        """Return where the reference of a start is."""
        scene, task, seed = key
        return self._always or self._folder / _file_name(scene) / f"{_file_name(task)}-{seed}.png"

    def reference(self, key: TrialKey) -> Image | None:
        """Return the reference of a start, None when nobody has set it yet.

        Raises:
            SoarError: It cannot be read.
        """
        path = self.path(key)
        if not path.exists():
            return None
        try:
            with Pillow.open(path) as picture:
                return np.asarray(picture.convert("RGB"))
        except OSError as error:
            raise SoarError(f"{path}: this picture of a start cannot be read ({error}). Put a copy of it back.") from error

    def keep(self, key: TrialKey, image_HWC: Image) -> None:
        """Make a picture the reference of a start.

        Raises:
            SoarError: It cannot be written.
        """
        write_picture(self.path(key), image_HWC)


def blended(reference_HWC: Image, live_HWC: Image) -> Image:
    """Return the mean of two pictures in the size of the second: where they differ, everything is seen twice."""
    height, width = live_HWC.shape[:2]
    both = resized(reference_HWC, (width, height)).astype(np.uint16) + live_HWC
    return (both // 2).astype(np.uint8)


def write_picture(path: Path, image_HWC: Image) -> None:
    """Write a PNG file atomically, so that a viewer that looks at it again and again never sees half of it.

    Raises:
        SoarError: It cannot be written.
    """
    with replacing(path) as temporary:
        Pillow.fromarray(image_HWC).save(temporary, format="PNG")


def _file_name(text: str) -> str:
    return re.sub(r"\W+", "-", text).strip("-")[:80]
