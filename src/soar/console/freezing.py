"""A run's pages as one file that needs nothing else: to send, to keep, to print. No scripts, nothing that is loaded.

What it says is what the pages *Run*, *Judge* and *Episodes* say, from the same values and templates; instead of the player each
episode has a strip and a clip. It is a few megabytes, and never more than `MOST_BYTES` of pictures.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from soar.console.judgements import judgements
from soar.console.pictures import shown, thumbnail
from soar.console.rendering import render
from soar.console.run_facts import threshold_of
from soar.console.run_journal import RunJournals
from soar.console.sources import Source
from soar.console.values import episode_values, judge_values, run_values
from soar.episodes import jpeg
from soar.episodes.browsing import Browser, Place
from soar.episodes.encoded import EncodedEpisode, decode
from soar.errors import StoreError
from soar.files import write_text
from soar.images import resized
from soar.reports.video import clip, data_uri, strip_bytes

EPISODES = 24
"""As many are shown at most, of each verdict about as many."""
MOST_BYTES = 16 * 2**20
"""Of pictures and clips in a file: what mail takes."""
_NEWEST = 2000
_CLIP_PX = 320


def freeze(source: Source, path: Path) -> None:
    """Write what the console shows of a run or store into one HTML file.

    Raises:
        StoreError: The store cannot be read.
        SoarError: The file cannot be written.
    """
    journals, browser = RunJournals(), source.browser
    values = run_values(source, journals) | judge_values(None if browser is None else judgements(browser), threshold_of(source))
    episodes = [] if browser is None else _episodes(source, browser, journals)
    about = {"source": source, "may": ("look",), "frozen": True, "now_s": time.time(), "shown": episodes}
    write_text(path, render("frozen.html.j2", **about, **values))


def _episodes(source: Source, browser: Browser, journals: RunJournals) -> list[dict[str, Any]]:
    """Return episodes with their pictures, as long as there is room; clips come first to those that stand first."""
    views: list[dict[str, Any]] = []
    room, clips = MOST_BYTES, True
    for row in _chosen(browser):
        try:
            view = episode_values(source, row["id"], journals)
            frames = browser.frames([Place(row["attempt"], row["first_row"], step) for step in (0, row["length"])])
            picture = f"data:image/jpeg;base64,{base64.b64encode(thumbnail(frames)).decode()}"
            strip, film = _films(view["episode"], clips)
        except StoreError as error:
            views.append({"unreadable": str(error)})
            continue
        if len(picture) + len(strip) > room:
            break
        room -= len(picture) + len(strip)
        clips = clips and len(film) <= room
        room -= len(film) if clips else 0
        views.append(view | {"picture": picture, "strip": strip, "clip": film if clips else "", "unreadable": ""})
    return views


def _chosen(browser: Browser) -> list[dict[str, Any]]:
    """Return rows of new episodes, a success, a failure and an undecided one in turn, of as many tasks as there are."""
    table = browser.table().select(["id", "attempt", "first_row", "length", "success", "instruction"])
    seen: dict[tuple[bool | None, str], int] = {}
    by_verdict: dict[bool | None, list[tuple[int, int, dict[str, Any]]]] = {True: [], False: [], None: []}
    for age, row in enumerate(table.slice(max(0, len(table) - _NEWEST)).to_pylist()[::-1]):
        kind = row["success"], row["instruction"] or ""
        seen[kind] = seen.get(kind, 0) + 1
        by_verdict[row["success"]].append((seen[kind], age, row))
    ordered = [[row for _, _, row in sorted(rows, key=lambda one: one[:2])] for rows in by_verdict.values()]
    return list(_in_turn(*ordered))[:EPISODES]


def _in_turn(*lists: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for rows in zip_longest(*lists):
        yield from (row for row in rows if row is not None)


def _films(episode: EncodedEpisode, with_clip: bool) -> tuple[str, str]:
    """Return the film strip of an episode and its clip; empty where it holds pictures that nothing should decode."""
    if not all(shown(frame) is frame for frame in (*episode.frames, *(goal for _, goal in episode.subgoals))):
        return "", ""
    small = replace(
        episode,
        frames=tuple(_small(frame) for frame in episode.frames),
        subgoals=tuple((step, _small(goal)) for step, goal in episode.subgoals),
    )
    decoded = decode(small)
    return data_uri(strip_bytes(decoded)), data_uri(clip(decoded)) if with_clip else ""


def _small(frame: bytes) -> bytes:
    """Return a picture that is no larger than a clip needs."""
    height, width = jpeg.size(frame) or (0, 0)
    if max(height, width) <= _CLIP_PX:
        return frame
    factor = _CLIP_PX / max(height, width)
    return jpeg.encode(resized(jpeg.decode(frame), (max(1, round(width * factor)), max(1, round(height * factor)))))
