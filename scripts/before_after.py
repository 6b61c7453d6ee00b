"""A clip of one start of each task, before practice above and after it below: the first film of each.

    soar evaluate --scene scene1 --policy BEFORE AFTER --trials 1 --first-trial 2 --out evaluations/both.json
    python scripts/before_after.py evaluations/both-1-films evaluations/both-2-films --out docs/images/before-after.webp

Films are those that an evaluation keeps, of the first starts of each task. A frame around the last picture is green where the
simulator says that it worked.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from soar.episodes import EpisodeStore
from soar.types import Episode

SIZE, GAP, HEAD, EVERY, FRAME_MS, HELD = 150, 6, 34, 2, 120, 12


def first_of_each_task(store: EpisodeStore) -> dict[str, Episode]:
    """Return the first film of each task."""
    found: dict[str, str] = {}
    for record in store.episodes():
        found.setdefault(record.instruction, record.id)
    return {instruction: store.read(id) for instruction, id in found.items()}


def tile(episode: Episode, step: int) -> Image.Image:
    """Return one picture of a film; after its end the last one, framed."""
    last = len(episode.images_THWC) - 1
    image = Image.fromarray(episode.images_THWC[min(step, last)]).resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    if step >= last:
        worked = episode.labels[0].success is True
        ImageDraw.Draw(image).rectangle((0, 0, SIZE - 1, SIZE - 1), outline=(40, 190, 80) if worked else (220, 50, 50), width=5)
    return image


def wrapped(text: str, width: int = 26) -> str:
    """Return an instruction in two lines at most."""
    lines = [""]
    for word in text.replace(" and put it on the table", "").split():
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] += f"{word} "
    return "\n".join(line.strip() for line in lines[:2])


def frames(before: dict[str, Episode], after: dict[str, Episode]) -> list[Image.Image]:
    """Return the clip's frames: a column a task."""
    tasks = [task for task in before if task in after]
    longest = max(len(episode.images_THWC) for task in tasks for episode in (before[task], after[task]))
    font, made = ImageFont.load_default(12), []
    for step in [*range(0, longest + EVERY, EVERY), *[longest] * HELD]:
        sheet = Image.new("RGB", (52 + len(tasks) * (SIZE + GAP), HEAD + 2 * (SIZE + GAP)), "white")
        pen = ImageDraw.Draw(sheet)
        for row, (name, films) in enumerate((("before", before), ("after", after))):
            pen.text((4, HEAD + row * (SIZE + GAP) + SIZE // 2 - 6), name, fill="black", font=font)
            for column, task in enumerate(tasks):
                sheet.paste(tile(films[task], step), (52 + column * (SIZE + GAP), HEAD + row * (SIZE + GAP)))
        for column, task in enumerate(tasks):
            pen.text((52 + column * (SIZE + GAP), 2), wrapped(task), fill="black", font=font, spacing=2)
        made.append(sheet)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the clip."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("before", type=Path, help="films of the policy before")
    parser.add_argument("after", type=Path, help="films of the policy after, from the same starts")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    made = frames(*(first_of_each_task(EpisodeStore(path)) for path in (options.before, options.after)))
    made[0].save(options.out, save_all=True, append_images=made[1:], duration=FRAME_MS, loop=0, quality=55, method=6)
    return 0


if __name__ == "__main__":
    sys.exit(main())
