"""The audit in the console: one episode after the other, judged by keys; what was judged is in the store at once."""

from __future__ import annotations

import time
from typing import Any, Literal

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field

from soar.console.audit import EVERY, Queue
from soar.console.judgements import Judgements, judgements
from soar.console.pages import Console, page
from soar.console.rendering import VERDICTS
from soar.console.run_facts import THRESHOLD, threshold_of
from soar.console.sources import Source, chosen, episodes_of
from soar.console.values import judge_values
from soar.episodes.schema import PERSON, resolve
from soar.errors import StoreError
from soar.types import Label

_FRESH_S = 10.0
_SUCCESS = {"y": True, "n": False, "u": None}
_Id = Field(min_length=1, max_length=1000)
_Who = Field(min_length=1, max_length=80, pattern=r"\S")


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NextBody(_Body):
    """Somebody wants an episode to judge, at a page that chose itself a name."""

    who: str = _Who
    threshold: float = Field(default=THRESHOLD, ge=0, le=1)
    skipped: list[str] = Field(default=[], max_length=1000)
    page: str = Field(default="", max_length=80)


class LabelBody(_Body):
    """Somebody judged one: `labels` is how many labels it had when they saw it, None when they want to judge it whatever."""

    who: str = _Who
    id: str = _Id
    verdict: Literal["y", "n", "u"]
    labels: int | None = Field(default=None, ge=0)


class UndoBody(_Body):
    """Somebody takes back what they said at a time."""

    who: str = _Who
    id: str = _Id
    time_s: float


class Audit:
    """The audits of all sources."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._queues = {name: Queue() for name in console.sources}
        self._known: dict[str, tuple[float, Judgements]] = {}

    def queue(self, source: Source) -> Queue:
        """Return who looks at what."""
        return self._queues[source.name]

    def judged(self, source: Source, fresh: bool = True) -> Judgements | None:
        """Return what everybody said; None while there are no episodes.

        Args:
            source: Where.
            fresh: Whether it must be as it is now; a few seconds old is enough to choose what comes next.
        """
        browser = source.browser
        if browser is None:
            return None
        read_s, known = self._known.get(source.name, (-float("inf"), None))
        if known is None or fresh or time.monotonic() - read_s > _FRESH_S:
            known = judgements(browser, known)
            self._known[source.name] = time.monotonic(), known
        return known

    def said(self, source: Source, id: str, success: bool | None) -> None:
        """Take note of what a person said, without reading everything again."""
        _, known = self._known.get(source.name, (0.0, None))
        if known is not None and id in known.ids:
            known.person_E[known.ids.index(id)] = 2 if success is None else int(success)

    def forget(self, source: Source) -> None:
        """Read everything again the next time."""
        self._known.pop(source.name, None)


def audit_routes(console: Console) -> APIRouter:
    """Return the addresses about people's judgements."""
    router = APIRouter(prefix="/s/{name}")
    audit = Audit(console)

    @router.get("/audit")
    def audit_page(request: Request, name: str) -> HTMLResponse:
        source = chosen(console.sources, name)
        return page(console, request, "audit.html.j2", source=source, threshold=threshold_of(source), every=EVERY)

    @router.get("/calibration")
    def calibration(request: Request, name: str) -> HTMLResponse:
        source = chosen(console.sources, name)
        values = judge_values(audit.judged(source), threshold_of(source))
        return page(console, request, "calibration.html.j2", source=source, **values)

    @router.post("/audit/next")
    def following(name: str, body: NextBody) -> dict[str, Any]:
        source = chosen(console.sources, name)
        judged = audit.judged(source, fresh=False)
        if judged is None:
            return {"id": None}
        offer = audit.queue(source).next(judged, body.who, body.threshold, frozenset(body.skipped), body.page)
        if offer is None:
            return {"id": None}
        row = judged.row(offer.index)
        return {
            "id": row["id"],
            "instruction": row["instruction"] or "",
            "attempt": str(row["attempt"]),  # more digits than JavaScript's numbers have
            "first_row": row["first_row"],
            "length": row["length"],
            "why": offer.why,
            "left": offer.left,
            "labels": len(row["labels"]),
        }

    @router.post("/labels")
    def label(name: str, body: LabelBody) -> dict[str, Any]:
        source = chosen(console.sources, name)
        _check_writable(source)
        known = episodes_of(source).record(body.id)
        # Also by somebody of the same name, at another page.
        new = [] if body.labels is None else known.labels[body.labels :]
        if said := [one for one in new if one.source.startswith(PERSON)]:
            who, says = said[-1].source.removeprefix(PERSON), VERDICTS[said[-1].success]
            raise HTTPException(409, f"{who} said {says} while you looked at it. Judge it all the same with the key.")
        made = Label(
            success=_SUCCESS[body.verdict],
            probability=None,
            source=f"{PERSON}{body.who.strip()}",
            answer=body.verdict,
            time_s=time.time(),
        )
        with source.writing() as store:
            store.add_label(body.id, made)
        audit.queue(source).done(body.id, body.who)
        audit.said(source, body.id, made.success)
        return {"id": body.id, "time_s": made.time_s, "says": VERDICTS[made.success]}

    @router.post("/labels/undo")
    def undo(name: str, body: UndoBody) -> dict[str, Any]:
        source = chosen(console.sources, name)
        _check_writable(source)
        browser = episodes_of(source)
        mine = f"{PERSON}{body.who.strip()}"
        labels = browser.record(body.id).labels
        found = [one for one in labels if one.source == mine and abs(one.time_s - body.time_s) < 1e-3]
        if not found:
            raise HTTPException(
                409, f"there is no such judgement of {body.id[:80]!r} by {body.who[:80]}; it was taken back already"
            )
        with source.writing() as store:
            store.take_back_label(body.id, found[-1])
        audit.forget(source)
        left = resolve(browser.record(body.id).labels)
        return {"id": body.id, "says": "not judged" if left is None else VERDICTS[left.success]}

    return router


def _check_writable(source: Source) -> None:
    if not source.writable:
        raise StoreError(
            f"{source.title} is read-only here: nothing can be labelled in it. Show a folder that you may write to, not "
            "a state with a name"
        )
