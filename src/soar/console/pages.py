"""What is served as a page: a template filled in for whoever asks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse

from soar.console.access import MAY
from soar.console.pictures import Thumbnails
from soar.console.rendering import render
from soar.console.sources import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """What pages are made of.

    Attributes:
        sources: Runs and stores by name.
        thumbnails: Small pictures, kept.
    """

    sources: dict[str, Source]
    thumbnails: Thumbnails = field(default_factory=Thumbnails)


def page(
    console: Console, request: Request, template: str, *, source: Source | None = None, status: int = 200, **values: Any
) -> HTMLResponse:
    """Return a page of the console."""
    may = request.scope.get(MAY, ())
    about = {"console": console, "source": source, "may": may, "frozen": False, "here": request.url.path}
    return HTMLResponse(render(template, **about, **values), status)
