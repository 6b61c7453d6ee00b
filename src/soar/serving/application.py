"""What all servers have in common: a health check, a description of the model, and errors that say what is wrong.

GET  /health       {"status": "ok"}, without a token
GET  /v1/model     kind, model, protocol, how many batches of how many items there were, and how many wait
GET  /metrics      the same, what was refused, and how long answers took, as Prometheus reads it
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel, ValidationError

from soar.errors import ConfigError
from soar.prometheus import CONTENT_TYPE
from soar.remote.client import PROTOCOL
from soar.remote.wire import Limits, WireError
from soar.serving.auth import HEALTH
from soar.serving.batching import BatchConfig, Batcher, ModelFailedError, OverloadedError
from soar.serving.memory import NoRoomError

log = logging.getLogger(__name__)
M = TypeVar("M", bound=BaseModel)
METRICS = "/metrics"
MOST_ITEMS = 1024
"""Of any request: no more are looked at to say how many there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceConfig:
    """How a model is served.

    Attributes:
        batch: How batches form.
        limits: What a peer may send.
        total_megabytes: Memory that requests in flight may take, all together.
    """

    batch: BatchConfig = field(default_factory=BatchConfig)
    limits: Limits = field(default_factory=lambda: Limits(megabytes=16))
    total_megabytes: int = 192

    def __post_init__(self) -> None:
        if self.total_megabytes < 1:
            raise ConfigError(f"total_megabytes must be at least 1, got {self.total_megabytes}")


def new_application(kind: str, model: str, batcher: Batcher[Any, Any], about: Mapping[str, Any]) -> FastAPI:
    """Return an application that has all but the kind's own paths."""
    # Its documentation pages would need no token and load scripts from elsewhere.
    app = FastAPI(title=f"soar serve {kind}", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.close = batcher.close  # for whoever gives it up before the process ends (`soar.serving.versions`)

    @app.get(HEALTH)
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/model")
    async def describe() -> dict[str, Any]:
        counts = {"batches": batcher.batches, "items": batcher.items, "waiting": batcher.waiting}
        return {"kind": kind, "model": model, "protocol": PROTOCOL, **counts, **about}

    @app.get(METRICS)
    async def metrics() -> PlainTextResponse:
        return PlainTextResponse(batcher.metrics("soar_serve", {"kind": kind, "model": model}), media_type=CONTENT_TYPE)

    @app.exception_handler(WireError)
    async def no_image(_request: Request, error: WireError) -> JSONResponse:
        return problem(422, str(error))

    @app.exception_handler(HTTPException)
    async def refused(_request: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, str(error.detail))

    @app.exception_handler(OverloadedError)
    async def busy(_request: Request, error: OverloadedError) -> JSONResponse:
        return problem(503, str(error), {"Retry-After": "1"})

    @app.exception_handler(NoRoomError)
    async def no_room(_request: Request, error: NoRoomError) -> JSONResponse:
        return problem(503, str(error), {"Retry-After": "1"}) if error.ever else problem(413, str(error))

    @app.exception_handler(ModelFailedError)
    async def failed(_request: Request, error: ModelFailedError) -> JSONResponse:
        return problem(500, str(error))

    return app


def problem(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return an error in the form that clients of OpenAI-compatible servers know."""
    content = {"error": {"message": message, "type": "error", "code": status}}
    return JSONResponse(content, status, dict(headers or {}))


def parsed(body: bytes, kind: type[M]) -> M:
    """Return what a request says.

    Raises:
        WireError: It says something else; the message names up to three places.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False, include_context=False)[:3]
        raise WireError("; ".join(f"{'.'.join(map(str, e['loc']))[:80] or 'body'}: {e['msg'][:200]}" for e in wrong)) from error


def check_count(count: int, limits: Limits) -> None:
    """Refuse an empty or too long list of items.

    Raises:
        WireError: It is one.
    """
    if not 1 <= count <= limits.images:
        raise WireError(f"{count} items in one request; between 1 and {limits.images} are allowed")
