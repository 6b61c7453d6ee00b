"""Pictures of an episode: a strip to read at a glance, a contact sheet, and a short clip."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from soar.episodes.schema import SIMULATOR, resolve
from soar.types import STEP_S, Episode, Image

SHOWN_PX = 256
"""Smaller frames are enlarged by a whole factor, without smoothing, to at most this height."""
_FRAMES = 6
_BARE_ROWS = 4
_BAND_PX = 34
_GAP_PX = 4
_PAPER, _INK = (24, 26, 30), (226, 228, 232)


def film_strip(episode: Episode) -> Pillow.Image:
    """Return what happened as one picture.

    Above, the frames at which a subgoal was due (and the first one); below each, the subgoal, so that what was reached and
    what was asked for stand one upon the other. An episode without subgoals gets six evenly spaced frames.
    """
    last = len(episode.actions_TD)
    if episode.subgoals:
        steps = [0, *(subgoal.step for subgoal in episode.subgoals[1:]), last]
        rows = 2
    else:
        steps = sorted({round(step) for step in np.linspace(0, last, _FRAMES)})
        rows = 1
    cell = _enlarged(episode.images_THWC[0])
    width, height = cell.width + _GAP_PX, cell.height + _BAND_PX
    strip = Pillow.new("RGB", (width * len(steps) - _GAP_PX, height * rows), _PAPER)
    draw = ImageDraw.Draw(strip)
    font = ImageFont.load_default(22)
    for column, step in enumerate(steps):
        draw.text((column * width + 4, 3), "start" if step == 0 else f"step {step}", _INK, font)
        strip.paste(_enlarged(episode.images_THWC[step]), (column * width, _BAND_PX))
    for column, subgoal in enumerate(episode.subgoals, start=1):
        draw.text((column * width + 4, height + 3), f"subgoal {column}", _INK, font)
        strip.paste(_enlarged(subgoal.image_HWC).resize(cell.size), (column * width, height + _BAND_PX))
    return strip


def contact_sheet(episode: Episode, columns: int = 8) -> Pillow.Image:
    """Return the whole episode as one picture, read like a page.

    Above stand the instruction, the verdict and the episode's id. Each row begins with a subgoal and goes on with `columns`
    evenly spaced frames from when it was commanded to when the next one was. An episode without subgoals gets up to four rows
    of frames.
    """
    last = len(episode.actions_TD)
    if episode.subgoals:
        begins = [subgoal.step for subgoal in episode.subgoals]
        ends = [*begins[1:], last]
        heads = [_enlarged(subgoal.image_HWC) for subgoal in episode.subgoals]
    else:
        rows = min(_BARE_ROWS, -(-(last + 1) // columns))
        bounds = sorted({round(step) for step in np.linspace(0, last, rows + 1)})
        begins, ends, heads = bounds[:-1], bounds[1:], []
    cell = _enlarged(episode.images_THWC[0])
    width, height = cell.width + _GAP_PX, cell.height + _BAND_PX
    first = 1 if heads else 0
    wide = width * (columns + first) - _GAP_PX
    font = ImageFont.load_default(22)
    title = [line for words in heading(episode) for line in _lines(words, wide - 8, font)]
    sheet = Pillow.new("RGB", (wide, _BAND_PX * len(title) + height * len(begins)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, line in enumerate(title):
        draw.text((4, number * _BAND_PX + 3), line, _INK, font)
    for row, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        top = _BAND_PX * len(title) + row * height
        if heads:
            draw.text((4, top + 3), f"subgoal {row + 1}", _INK, font)
            sheet.paste(heads[row].resize(cell.size), (0, top + _BAND_PX))
        steps = sorted({round(step) for step in np.linspace(begin, end, columns)})
        for column, step in enumerate(steps, start=first):
            draw.text((column * width + 4, top + 3), f"step {step}", _INK, font)
            sheet.paste(_enlarged(episode.images_THWC[step]), (column * width, top + _BAND_PX))
    return sheet


def heading(episode: Episode) -> tuple[str, str, str]:
    """Return what an episode is: its instruction, whether it worked and who says so, its id."""
    label = resolve(episode.labels)
    verdict = "not judged"
    if label is not None:
        sure = "" if label.probability is None else f", probability {label.probability:.2f}"
        outcome = {True: "success", False: "failure", None: "undecided"}[label.success]
        verdict = f"{outcome} as judged by {label.source}{sure}"
    truths = [label.success for label in episode.labels if label.source == SIMULATOR and label.success is not None]
    if truths:
        verdict += f"; in truth {'success' if truths[-1] else 'failure'}"
    return episode.instruction or "no instruction", verdict, episode.id


def _lines(words: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    """Return a sentence in lines that fit; a word that is wider is cut."""
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    for number in range(len(lines)):
        while len(lines[number]) > 1 and font.getlength(lines[number]) > width:
            lines[number] = f"{lines[number][:-2]}…"
    return lines


def clip(episode: Episode) -> bytes:
    """Return the episode in real time as an animated WebP; the subgoal that is being pursued stands on the right."""
    size = _enlarged(episode.images_THWC[0]).size
    frames = []
    for step, image_HWC in enumerate(episode.images_THWC):
        left = _enlarged(image_HWC)
        pursued = [subgoal for subgoal in episode.subgoals if subgoal.step <= step]
        if not episode.subgoals:
            frames.append(left)
            continue
        frame = Pillow.new("RGB", (2 * size[0] + _GAP_PX, size[1]), _PAPER)
        frame.paste(left, (0, 0))
        if pursued:
            frame.paste(_enlarged(pursued[-1].image_HWC).resize(size), (size[0] + _GAP_PX, 0))
        frames.append(frame)
    buffer = io.BytesIO()
    # Method 0 takes a quarter of a second an episode on one core; the slower ones save little.
    frames[0].save(
        buffer, "WEBP", save_all=True, append_images=frames[1:], duration=round(1000 * STEP_S), loop=0, quality=60, method=0
    )
    return buffer.getvalue()


def strip_bytes(episode: Episode) -> bytes:
    """Return the film strip as WebP."""
    buffer = io.BytesIO()
    film_strip(episode).save(buffer, "WEBP", quality=70)
    return buffer.getvalue()


def data_uri(webp: bytes) -> str:
    """Return a WebP picture as a URI that a page can contain."""
    return f"data:image/webp;base64,{base64.b64encode(webp).decode()}"


def _enlarged(image_HWC: Image) -> Pillow.Image:
    picture = Pillow.fromarray(image_HWC)
    factor = max(1, SHOWN_PX // picture.height)
    return picture.resize((picture.width * factor, picture.height * factor), Pillow.Resampling.NEAREST)
