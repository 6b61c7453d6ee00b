"""The page about the ten scenes: what they show that pre-training has and has not seen, and each task before and after.

python -m soar.sim.pages.scenes docs/scenes.md

Pictures go to `images/` beside the page. The expert does each task once, from a start that no trial uses.
"""

from __future__ import annotations

import argparse
import io
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from soar.errors import SoarError
from soar.files import replacing, write_text
from soar.seeding import derive_seed
from soar.sim import catalogue
from soar.sim.ground_truth import reset_for, succeeded
from soar.sim.pages.gallery import SCENES
from soar.sim.scene import SceneConfig, load_scene
from soar.sim.scripted.expert import ScriptedExpert
from soar.sim.scripted.style import Style
from soar.sim.world import World
from soar.types import Image

log = logging.getLogger(__name__)
SIZE, CAPTION, GAP, PAIRS = 128, 16, 4, 2
STEPS, REST_STEPS, ATTEMPTS = 100, 12, 5
COMMAND = "python -m soar.sim.pages.scenes docs/scenes.md"


def before_and_after(world: World, task: str) -> tuple[Image, Image]:
    """Return pictures of a start from which a task is possible, and of what the expert made of it.

    Raises:
        SoarError: The expert failed from each of several starts.
    """
    for attempt in range(ATTEMPTS):
        seed = derive_seed(0, f"picture of {task}", attempt)
        reset_for(world, task, seed % 2**31)
        before = world.render()
        expert = ScriptedExpert(world, task, Style(), np.random.default_rng(seed))
        rest = 0
        for _ in range(STEPS):
            world.step(expert.act())
            rest = rest + 1 if succeeded(world, task) else 0
            if rest == REST_STEPS:
                return before, world.render()
    raise SoarError(f"the expert failed {ATTEMPTS} times in a row: {task!r} in scene {world.config.name!r}")


def draw_tasks(scene: SceneConfig) -> Image:
    """Return each task of a scene before and after, two tasks in a row, each with its instruction under it."""
    world = World(scene, image_size=SIZE)
    width = 2 * SIZE + GAP
    rows = -(-len(scene.tasks) // PAIRS)
    sheet = PILImage.new("RGB", (PAIRS * (width + 2 * GAP) - 2 * GAP, rows * (SIZE + CAPTION)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(9)
    try:
        for index, task in enumerate(scene.tasks):
            x, y = (index % PAIRS) * (width + 2 * GAP), (index // PAIRS) * (SIZE + CAPTION)
            for column, image in enumerate(before_and_after(world, task)):
                sheet.paste(PILImage.fromarray(image), (x + column * (SIZE + GAP), y))
            text = task.replace(" and put it on the table", " …")
            pen.text((x + 1, y + SIZE + 2), text, fill="black", font=font)
    finally:
        world.close()
    return np.asarray(sheet)


def page(scenes: Sequence[SceneConfig]) -> str:
    """Return the page as Markdown."""
    objects, tables = catalogue.objects(), catalogue.tables()
    shown = list(dict.fromkeys(name for scene in scenes for name in scene.objects))
    used = list(dict.fromkeys(scene.appearance.table for scene in scenes))

    def names(kinds: Sequence[str], seen: bool) -> str:
        known: dict[str, catalogue.ObjectSpec | catalogue.TableSpec] = {**objects, **tables}
        chosen = [name for name in kinds if known[name].pretraining is seen]
        return f"{', '.join(chosen)} ({len(chosen)})"

    parts = [
        "# The ten scenes\n",
        "![The ten scenes and their objects](images/scenes.png)\n",
        f"The scenes and the {sum(len(scene.tasks) for scene in scenes)} tasks of the paper's Table 5, with its wording. "
        "The policy's demonstrations show the first column of this table and none of the second; the pictures from which the "
        "subgoal model and the VQA model learn show all tables and objects, in other layouts "
        "([what each model has seen](base-models.md)).\n",
        "| | seen in pre-training | not seen |\n| --- | --- | --- |",
        f"| tables | {names(used, seen=True)} | {names(used, seen=False)} |",
        f"| objects | {names(shown, seen=True)} | {names(shown, seen=False)} |\n",
        "The paper counts 19 objects, 14 of them unseen; the cloth is the twentieth here. Every scene has a camera of its own "
        "and plexiglass around the table, which no demonstration shows.\n",
        "Each picture pair is a start and what the scripted expert made of it. The camera faces the robot, so left in a "
        f"picture is the robot's right. `{COMMAND}` draws this page; "
        "[how often each task can be done](benchmarks.md#can-every-task-be-done) is measured.\n",
        "Each scene is there once more, further from the demonstrations (`scene1-far` …): a camera some 10 cm away from "
        "theirs, looks 2 cm beside and sees a little more or less, another light, a tint. The pictures of the subgoal model "
        "and of the VQA model show all of that.\n",
    ]
    for scene in scenes:
        seen = "seen" if tables[scene.appearance.table].pretraining else "not seen"
        parts.append(f"## {scene.name.capitalize().replace('Scene', 'Scene ')}\n")
        things = ", ".join(_marked(name) for name in scene.objects)
        parts.append(f"Table: {scene.appearance.table} ({seen}). Objects, those not seen in bold: {things}.\n")
        parts.append(f"![Each task of {scene.name} before and after](images/{scene.name}.jpg)\n")
    return "\n".join(parts)


def _marked(name: str) -> str:
    return name if catalogue.objects()[name].pretraining else f"**{name}**"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page and its pictures; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m soar.sim.pages.scenes", description="Draw the page about all scenes.")
    parser.add_argument("file", type=Path, help="the page; pictures go to images/ beside it")
    parser.add_argument("--scenes", nargs="+", default=list(SCENES), help="those whose pictures are drawn anew")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = parser.parse_args(arguments)
    path: Path = options.file
    try:
        for name in options.scenes:
            buffer = io.BytesIO()
            PILImage.fromarray(draw_tasks(load_scene(name))).save(buffer, "JPEG", quality=80, optimize=True)
            with replacing(path.parent / "images" / f"{name}.jpg") as temporary:
                temporary.write_bytes(buffer.getvalue())
            log.info("%s: %d kB", name, len(buffer.getvalue()) // 1000)
        write_text(path, page([load_scene(name) for name in SCENES]))
    except SoarError as error:
        log.error("%s", error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
