"""How pages are filled in: templates whose values are escaped, the same for pages that are served and frozen."""

from __future__ import annotations

import base64
import functools
import hashlib
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from soar import __version__
from soar.evaluation.statistics import p_value, short
from soar.types import STEP_S

STATIC = Path(__file__).parent / "static"
TEMPLATES = Path(__file__).parent / "templates"
VERDICTS = {True: "success", False: "failure", None: "undecided"}


def render(template: str, **values: Any) -> str:
    """Return a filled template."""
    return _environment().get_template(template).render(**values)


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "short": short,
        "p_value": p_value,
        "when": when,
        "ago": ago,
        "duration": duration,
        "verdict": VERDICTS.__getitem__,
        "path": lambda text: quote(str(text), safe=""),
    }
    environment.globals |= {"version": __version__, "STEP_S": STEP_S, "style": style, "style_hash": style_hash}
    return environment


def style() -> str:
    """Return the styles, for a page that stands alone."""
    return (STATIC / "console.css").read_text(encoding="utf-8")


def style_hash() -> str:
    """Return what lets a content policy allow these styles and no others."""
    return f"sha256-{base64.b64encode(hashlib.sha256(style().encode()).digest()).decode()}"


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
