"""How pages are made: templates filled with values that are escaped, the same for the console and for a frozen report."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from soar import __version__
from soar.console.pictures import Thumbnails
from soar.console.sources import Source
from soar.evaluation.statistics import short
from soar.types import STEP_S, Label

STATIC = Path(__file__).parent / "static"
TEMPLATES = Path(__file__).parent / "templates"
VERDICTS = {True: "success", False: "failure", None: "undecided"}


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
    role = request.scope.get("soar.role", "")
    about = {"console": console, "source": source, "role": role, "frozen": False, "here": request.url.path}
    return HTMLResponse(render(template, **about, **values), status)


def render(template: str, **values: Any) -> str:
    """Return a filled template."""
    return _environment().get_template(template).render(**values)


def verdict_of(label: Label) -> str:
    """Return a label in words: who says what, and how sure."""
    sure = "" if label.probability is None else f" ({label.probability:.2f})"
    return f"{label.source}: {VERDICTS[label.success]}{sure}"


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "short": short,
        "when": when,
        "ago": ago,
        "duration": duration,
        "verdict": VERDICTS.__getitem__,
        "path": lambda text: quote(str(text), safe=""),
    }
    environment.globals |= {"version": __version__, "STEP_S": STEP_S, "style": _style}
    return environment


def _style() -> str:
    """Return the styles, for a page that stands alone."""
    return (STATIC / "console.css").read_text(encoding="utf-8")


def when(seconds: float | None) -> str:
    """Return a time of this computer's zone; empty for none."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else ""


def ago(seconds: float) -> str:
    """Return how long ago a time was."""
    return f"{duration(max(0.0, time.time() - seconds))} ago"


def duration(seconds: float) -> str:
    """Return seconds in words."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, left = divmod(hours, 24)
    if days:
        return f"{days} d {left} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
