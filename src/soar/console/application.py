"""The console's application: entering, its own scripts and styles, and the pages; errors in words.

GET  /enter, /static/…, /health               anybody
GET  / , /s/NAME/live │ run │ episodes │ …    viewer
POST /s/NAME/labels, /audit/next, /dialogue   labeller
POST /s/NAME/orders                           operator
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from soar.console.access import ENTER, STATIC, Access, cookie_name, cookie_of, is_token
from soar.console.audit_pages import audit_routes
from soar.console.dialogue_pages import dialogue_routes
from soar.console.episode_pages import episode_routes
from soar.console.live_pages import live_routes
from soar.console.order_pages import order_routes
from soar.console.pages import Console, page
from soar.console.rendering import STATIC as FILES
from soar.console.rendering import render
from soar.console.run_journal import RunJournals
from soar.console.run_pages import run_routes
from soar.console.sources import Source
from soar.errors import SoarError, UnknownNameError
from soar.fleet.tokens import Tokens
from soar.serving.application import problem
from soar.serving.auth import HEALTH, App

_KEPT_S = 30 * 86_400
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


class EnterBody(BaseModel):
    """Somebody shows a token."""

    model_config = ConfigDict(extra="forbid")
    token: str = Field(max_length=1000)


def console_application(sources: dict[str, Source], tokens: Tokens) -> App:
    """Return the console of some runs and stores, with who may see it in front."""
    app = FastAPI(title="soar console", docs_url=None, redoc_url=None, openapi_url=None)
    console, journals = Console(sources=sources), RunJournals()

    @app.get(HEALTH)
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get(ENTER)
    def enter_page(request: Request, to: str = "/") -> HTMLResponse:
        return HTMLResponse(render("enter.html.j2", to=_inside(to)))

    @app.post(ENTER)
    def enter(request: Request, body: EnterBody) -> Response:
        whose = tokens.whose(is_token(body.token))
        if whose is None:
            raise HTTPException(403, "that is not this console's token; `soar console` shows it when it begins")
        answer = JSONResponse({"may": whose[1]})
        answer.set_cookie(
            cookie_name(request.scope), cookie_of(body.token), max_age=_KEPT_S, httponly=True, samesite="strict", path="/"
        )
        return answer

    @app.get(STATIC + "{file}")
    def static(file: str) -> FileResponse:
        known = {path.name: path for path in FILES.iterdir() if path.suffix in _TYPES}
        if file not in known:
            raise HTTPException(404, "there is no such file")
        kept = {"Cache-Control": "no-cache"}  # asked for anew, and sent only when it has changed
        return FileResponse(known[file], media_type=_TYPES[known[file].suffix], headers=kept)

    @app.get("/")
    def home(request: Request) -> Response:
        if len(sources) == 1:
            source = next(iter(sources.values()))
            return RedirectResponse(f"/s/{source.name}/{'live' if source.run is not None else 'episodes'}", 303)
        counts = {name: 0 if source.browser is None else len(source.browser.table()) for name, source in sources.items()}
        return page(console, request, "home.html.j2", counts=counts)

    for router in (
        episode_routes(console, journals),
        audit_routes(console),
        run_routes(console, journals),
        live_routes(console),
        order_routes(console),
        dialogue_routes(console),
    ):
        app.include_router(router)
    _explain_errors(app, console)
    return Access(app, tokens)


def _inside(to: str) -> str:
    """Return an address of this console: where somebody wanted to go, or its beginning."""
    parts = urlsplit(to)
    inside = not parts.scheme and not parts.netloc and to.startswith("/") and not to.startswith(("//", "/\\"))
    return to if inside and "\\" not in to and to.isprintable() else "/"


def _explain_errors(app: FastAPI, console: Console) -> None:
    def explained(request: Request, status: int, why: str, headers: dict[str, str] | None = None) -> Response:
        if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
            return page(console, request, "wrong.html.j2", status=status, why=why)
        return problem(status, why, headers)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> Response:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))[:80]}: {e['msg'][:200]}" for e in error.errors()[:3])
        return explained(request, 422, wrong)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        return explained(request, error.status_code, str(error.detail), dict(error.headers or {}))

    async def missing(request: Request, error: Any) -> Response:
        return explained(request, error.status_code, str(error.detail))

    for status in (404, 405):  # also those that the framework raises, which are of another class
        app.add_exception_handler(status, missing)

    @app.exception_handler(SoarError)
    async def wrong(request: Request, error: SoarError) -> Response:
        there_is_none = isinstance(error, UnknownNameError) or " has no episode " in str(error)
        return explained(request, 404 if there_is_none else 409, str(error))
