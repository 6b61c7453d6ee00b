"""Episodes in the console: the list with its filters, the player, two side by side, and what can be downloaded of them."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pyarrow.compute as pc
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse, Response, StreamingResponse

from soar.console.listing import Listing, listing, matching, parsed
from soar.console.pages import Console, page
from soar.console.pictures import shown
from soar.console.rendering import VERDICTS
from soar.console.run_journal import RunJournals
from soar.console.sources import Source, chosen, episodes_of
from soar.console.values import episode_values
from soar.episodes.browsing import Browser, Place
from soar.episodes.filters import quoted
from soar.episodes.schema import EpisodeRecord
from soar.episodes.store import EpisodeStore
from soar.errors import ConfigError, StoreError

MOST_EXPORTED = 500
"""Episodes in one download; more are a matter for `soar data export`."""
_FOR_EVER = {"Cache-Control": "private, max-age=31536000, immutable"}
_JPEG = "image/jpeg"
_BLOCK = 2**18


def episode_routes(console: Console, journals: RunJournals) -> APIRouter:
    """Return the addresses about episodes."""
    router = APIRouter(prefix="/s/{name}")
    exporting = threading.Lock()

    @router.get("/episodes")
    def episodes(request: Request, name: str) -> HTMLResponse:
        source = chosen(console.sources, name)
        filters = parsed(request.query_params)
        wrong = ""
        try:
            found = listing(episodes_of(source), filters)
        except (ConfigError, StoreError) as error:
            wrong = str(error)
            found = Listing(rows=[], count=0, page=1, pages=1, total=0, choices={"task": [], "robot": [], "policy": []})
        status = 400 if wrong else 200
        return page(
            console, request, "episodes.html.j2", source=source, status=status, filters=filters, found=found, wrong=wrong
        )

    @router.get("/episode")
    def episode(request: Request, name: str, id: str) -> HTMLResponse:
        source = chosen(console.sources, name)
        values = episode_values(source, id, journals)
        others = _others(episodes_of(source), values["record"])
        return page(console, request, "episode.html.j2", source=source, shown=[values], others=others)

    @router.get("/compare")
    def compare(request: Request, name: str, a: str, b: str) -> HTMLResponse:
        source = chosen(console.sources, name)
        both = [episode_values(source, id, journals) for id in (a, b)]
        return page(console, request, "episode.html.j2", source=source, shown=both, others=[])

    @router.get("/thumb/{attempt}/{first_row}/{length}")
    def thumb(name: str, attempt: int, first_row: int, length: int) -> Response:
        source = chosen(console.sources, name)
        data = console.thumbnails.of(source.name, lambda: episodes_of(source), attempt, first_row, length)
        return Response(data, media_type=_JPEG, headers=_FOR_EVER)

    @router.get("/frame/{attempt}/{first_row}/{step}")
    def frame(name: str, attempt: int, first_row: int, step: int) -> Response:
        found = episodes_of(chosen(console.sources, name)).frames([Place(attempt, first_row, step)])
        return Response(shown(found[0]), media_type=_JPEG, headers=_FOR_EVER)

    @router.get("/subgoal/{number}")
    def subgoal(name: str, number: int, id: str) -> Response:
        subgoals = episodes_of(chosen(console.sources, name)).subgoals(id)
        if not 0 <= number < len(subgoals):
            raise HTTPException(404, f"episode {id[:80]!r} has {len(subgoals)} subgoals")
        return Response(shown(subgoals[number][1]), media_type=_JPEG, headers=_FOR_EVER)

    @router.get("/download/{format}")
    def download(request: Request, name: str, format: Literal["lerobot", "rlds", "rerun"], id: str = "") -> Response:
        source = chosen(console.sources, name)
        browser = episodes_of(source)
        ids = [id] if id else matching(browser, parsed(request.query_params))["id"].to_pylist()
        most = 1 if format == "rerun" else MOST_EXPORTED
        if not 1 <= len(ids) <= most:
            raise HTTPException(
                422,
                f"{len(ids)} episodes are chosen, and a download holds 1 to {most}: filter them, or use `soar data export` "
                f"or `soar data view` on {browser.uri}",
            )
        if not exporting.acquire(blocking=False):
            raise HTTPException(503, "another download is being made; try again in a moment", {"Retry-After": "10"})
        try:
            folder = Path(tempfile.mkdtemp(prefix="soar-download-"))
            try:
                made = _export(source, ids, format, folder)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
        finally:
            exporting.release()
        headers = {"Content-Disposition": f'attachment; filename="{made.name}"'}
        return StreamingResponse(_sent(made, folder), media_type="application/octet-stream", headers=headers)

    return router


def _others(browser: Browser, record: EpisodeRecord) -> list[tuple[str, str]]:
    """Return what to lay beside an episode: the newest success, failure and undecided one of its task, and their ids."""
    table = browser.table()
    same = table.filter(pc.and_(pc.equal(table["instruction"], record.instruction), pc.not_equal(table["id"], record.id)))
    verdicts, ids = same["success"].to_pylist(), same["id"].to_pylist()
    newest = dict(zip(verdicts, ids, strict=True))
    return [(name, newest[verdict]) for verdict, name in VERDICTS.items() if verdict in newest]


def _export(source: Source, ids: list[str], format: str, folder: Path) -> Path:
    """Write episodes of a store in another format; returns the file."""
    where = f"id IN ({', '.join(quoted(id) for id in ids)})"
    if format == "rerun":
        from soar.reports.rerun_viewer import save_recording

        path = folder / "episode.rrd"
        save_recording(episodes_of(source).encoded(ids[0]), path)
        return path
    store = EpisodeStore(source.uri)
    if format == "lerobot":
        from soar.formats.lerobot_export import export_lerobot

        export_lerobot(store, folder / "out" / "lerobot", where=where, codec="h264")
    else:
        from soar.formats.rlds_export import export_rlds

        export_rlds(store, folder / "out", where=where, name="soar_dataset", version="1.0.0")
    return Path(shutil.make_archive(str(folder / f"{source.name}-{format}"), "zip", folder / "out"))


def _sent(path: Path, folder: Path) -> Iterator[bytes]:
    """Yield a file's bytes, and remove its folder afterwards."""
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                yield block
    finally:
        shutil.rmtree(folder, ignore_errors=True)
