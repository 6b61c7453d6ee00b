"""Trials that a person judges on a page (`soar evaluate --judge person --ask page`): the question, the picture, the keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field

from soar.console.pages import Console, page
from soar.console.pictures import embeddable
from soar.console.sources import Source, chosen
from soar.errors import SoarError
from soar.evaluation.dialogue import ANSWER, LONGEST_REMARK, QUESTION, SCHEMA
from soar.files import refresh_json
from soar.untrusted import parse_json

_MOST = 16
_MOST_BYTES = 2**23


class AnswerBody(BaseModel):
    """Somebody answers a question."""

    model_config = ConfigDict(extra="forbid")
    which: str = Field(max_length=300)
    number: str = Field(min_length=1, max_length=64)
    said: str = Field(min_length=1, max_length=16)
    remark: str = Field(default="", max_length=LONGEST_REMARK)
    who: str = Field(default="", max_length=80)


def dialogue_routes(console: Console) -> APIRouter:
    """Return the addresses about trials that people judge."""
    router = APIRouter(prefix="/s/{name}")

    @router.get("/dialogue")
    def dialogue_page(request: Request, name: str) -> HTMLResponse:
        source = chosen(console.sources, name)
        return page(console, request, "dialogue.html.j2", source=source, asked=questions(source))

    @router.get("/dialogue/now")
    def now(name: str) -> dict[str, Any]:
        return {"asked": questions(chosen(console.sources, name))}

    @router.post("/dialogue")
    def answer(name: str, body: AnswerBody) -> dict[str, Any]:
        source = chosen(console.sources, name)
        asked = next((one for one in questions(source) if one["which"] == body.which), None)
        if asked is None or asked["number"] != body.number or body.said not in asked["choices"]:
            raise HTTPException(409, "that is asked no more: somebody has answered, or the evaluation has gone on")
        path = _folder(source) / f"{body.which}{ANSWER}"
        try:
            refresh_json(path, {"number": body.number, "said": body.said, "remark": body.remark, "who": body.who})
        except OSError as error:
            raise SoarError(
                f"{path}: the answer cannot be written ({error.strerror}). Free some space, and answer again"
            ) from error
        return {"said": body.said}

    return router


def questions(source: Source) -> list[dict[str, Any]]:
    """Return what is asked now, by the name of the evaluation: `which`, `number`, `text`, `choices`, `lines`, `picture`."""
    if source.run is None:
        return []
    found = []
    for path in sorted(_folder(source).glob(f"*{QUESTION}"))[:_MOST]:
        try:
            if path.name.startswith(".") or path.stat().st_size > _MOST_BYTES:
                continue
            said = parse_json(path.read_bytes())
            if said["schema"] != SCHEMA:
                continue
            texts = {name: str(said[name]) for name in ("number", "text")} | {"picture": embeddable(str(said["picture"]))}
            choices, lines = [str(choice) for choice in said["choices"]], [str(line) for line in said["lines"]]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        found.append(texts | {"which": path.name.removesuffix(QUESTION), "choices": choices, "lines": lines})
    return found


def _folder(source: Source) -> Path:
    assert source.run is not None
    return source.run / "evaluations"
