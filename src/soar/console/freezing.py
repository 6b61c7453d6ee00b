"""A run's pages as one file that needs nothing else: to send, to keep, to print. No scripts, nothing that is loaded."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import Any

from soar.console.audit_pages import THRESHOLD, calibration_values
from soar.console.episode_pages import view_of
from soar.console.judgements import judgements
from soar.console.pages import Console, render
from soar.console.pictures import shown, thumbnail
from soar.console.run_journal import RunJournals
from soar.console.run_pages import run_values
from soar.console.sources import Source
from soar.episodes.browsing import Place
from soar.episodes.encoded import decode
from soar.files import write_text
from soar.reports.video import data_uri, strip_bytes

EPISODES = 24
"""Of each verdict the newest, as many as these."""


def freeze(source: Source, path: Path) -> None:
    """Write what the console shows of a run or store into one HTML file.

    Raises:
        StoreError: The store cannot be read.
        SoarError: The file cannot be written.
    """
    journals = RunJournals()
    browser = source.browser
    judged = None if browser is None else judgements(browser)
    values = run_values(source, journals) | calibration_values(judged, THRESHOLD)
    about = {"console": Console(sources={source.name: source}), "source": source, "role": "viewer", "frozen": True, "here": ""}
    text = render("frozen.html.j2", **about, **values, now_s=time.time(), shown=_shown(source, journals))
    write_text(path, text)


def _shown(source: Source, journals: RunJournals) -> list[dict[str, Any]]:
    """Return the newest episodes, of each verdict about as many."""
    browser = source.browser
    if browser is None:
        return []
    by_verdict: dict[bool | None, list[dict[str, Any]]] = {}
    table = browser.table().select(["id", "attempt", "first_row", "length", "success"])
    for row in table.slice(max(0, len(table) - 2000)).to_pylist()[::-1]:
        by_verdict.setdefault(row["success"], []).append(row)
    each = -(-EPISODES // max(1, len(by_verdict)))
    views = []
    for row in [row for verdict in (True, False, None) for row in by_verdict.get(verdict, [])[:each]]:
        frames = browser.frames([Place(row["attempt"], row["first_row"], step) for step in (0, row["length"])])
        picture = base64.b64encode(thumbnail(frames)).decode()
        views.append(
            view_of(source, row["id"], journals)
            | {"picture": f"data:image/jpeg;base64,{picture}", "strip": data_uri(_strip(source, row["id"]))}
        )
    return views


def _strip(source: Source, id: str) -> bytes:
    """Return the film strip of an episode; without the pictures that nothing should decode."""
    browser = source.browser
    assert browser is not None
    episode = browser.encoded(id)
    harmless = all(shown(frame) is frame for frame in (*episode.frames, *(jpeg for _, jpeg in episode.subgoals)))
    return strip_bytes(decode(episode)) if harmless else b""
