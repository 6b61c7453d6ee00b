"""A picture of all scenes with their names and objects, for docs/scenes.md.

python -m soar.sim.pages.gallery docs/images/scenes.png
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from soar.errors import SoarError
from soar.files import replacing
from soar.sim.scene import SceneConfig, load_scene
from soar.sim.world import World
from soar.types import Image

log = logging.getLogger(__name__)
SCENES = tuple(f"scene{number}" for number in range(1, 11))
COLUMNS, SIZE, CAPTION, GAP = 3, 256, 36, 4
SEED = 7


def draw_gallery(scenes: Sequence[SceneConfig]) -> Image:
    """Return the scenes side by side, three in a row, each 256 pixels wide and with a caption under it."""
    rows = -(-len(scenes) // COLUMNS)
    width, height = COLUMNS * (SIZE + GAP) - GAP, rows * (SIZE + CAPTION + GAP) - GAP
    sheet = PILImage.new("RGB", (width, height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for index, scene in enumerate(scenes):
        x, y = (index % COLUMNS) * (SIZE + GAP), (index // COLUMNS) * (SIZE + CAPTION + GAP)
        world = World(scene, image_size=SIZE)
        world.reset(SEED)
        sheet.paste(PILImage.fromarray(world.render()), (x, y))
        world.close()
        pen.text((x + 4, y + SIZE + 3), f"{scene.name}  ·  {scene.appearance.table} table", fill="black", font=font)
        pen.text((x + 4, y + SIZE + 18), ", ".join(scene.objects), fill=(90, 90, 90), font=font)
    return np.asarray(sheet)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the picture; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m soar.sim.pages.gallery", description="Draw all simulated scenes into one PNG."
    )
    parser.add_argument("file", type=Path)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    path: Path = parser.parse_args(arguments).file
    try:
        image = draw_gallery([load_scene(name) for name in SCENES])
        with replacing(path) as temporary:
            # 32 shades a channel halve the file; a palette would lose the colours of the small objects.
            PILImage.fromarray(image // 8 * 8 + image // 32).save(temporary, "PNG", optimize=True)
    except SoarError as error:
        log.error("%s", error)
        return 2
    log.info("%s: %d scenes, %d kB", path, len(SCENES), path.stat().st_size // 1000)
    return 0


if __name__ == "__main__":
    sys.exit(main())
