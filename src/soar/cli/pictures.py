"""Pictures from and to files, for commands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from soar.errors import ConfigError
from soar.files import replacing
from soar.types import Image


def read_picture(path: Path) -> Image:
    """Return a picture as uint8 RGB.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        with Pillow.open(path) as picture:
            return np.array(picture.convert("RGB"))
    except (OSError, UnidentifiedImageError, Pillow.DecompressionBombError) as error:
        raise ConfigError(f"{path} cannot be read as a picture: {error}") from error


def write_picture(path: Path, image_HWC: Image) -> None:
    """Write a picture atomically; the name's ending says how.

    Raises:
        ConfigError: No picture format has that ending.
    """
    kind = Pillow.registered_extensions().get(path.suffix.lower())
    if kind is None:
        raise ConfigError(f"{path}: name a picture, for example {path.with_suffix('.png')}")
    with replacing(path) as temporary:
        Pillow.fromarray(image_HWC).save(temporary, format=kind)
