"""What all servers have in common: a health check, a description of the model, and errors that say what is wrong.

GET  /health       {"status": "ok"}, without a token
GET  /v1/model     kind, model, protocol, how many batches of how many items there were, and how many wait
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from soar.remote.client import PROTOCOL
from soar.remote.wire import Limits, WireError
from soar.serving.auth import HEALTH
from soar.serving.batching import BatchConfig, Batcher, ModelFailedError, OverloadedError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceConfig:
    """How a model is served.

    Attributes:
        batch: How batches form.
        limits: What a peer may send.
    """

    batch: BatchConfig = field(default_factory=BatchConfig)
    limits: Limits = field(default_factory=Limits)


def new_application(kind: str, model: str, batcher: Batcher[Any, Any], about: Mapping[str, Any]) -> FastAPI:
    """Return an application that has all but the kind's own paths."""
    # Its documentation pages would need no token and load scripts from elsewhere.
    app = FastAPI(title=f"soar serve {kind}", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get(HEALTH)
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/model")
    async def describe() -> dict[str, Any]:
        counts = {"batches": batcher.batches, "items": batcher.items, "waiting": batcher.waiting}
        return {"kind": kind, "model": model, "protocol": PROTOCOL, **counts, **about}

    @app.exception_handler(RequestValidationError)
    async def malformed(_request: Request, error: RequestValidationError) -> JSONResponse:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))[:80]}: {e['msg'][:200]}" for e in error.errors()[:3])
        return problem(422, wrong)

    @app.exception_handler(WireError)
    async def no_image(_request: Request, error: WireError) -> JSONResponse:
        return problem(422, str(error))

    @app.exception_handler(HTTPException)
    async def refused(_request: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, str(error.detail))

    @app.exception_handler(OverloadedError)
    async def busy(_request: Request, error: OverloadedError) -> JSONResponse:
        return problem(503, str(error), {"Retry-After": "1"})

    @app.exception_handler(ModelFailedError)
    async def failed(_request: Request, error: ModelFailedError) -> JSONResponse:
        return problem(500, str(error))

    return app


def problem(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return an error in the form that clients of OpenAI-compatible servers know."""
    content = {"error": {"message": message, "type": "error", "code": status}}
    return JSONResponse(content, status, dict(headers or {}))


def check_count(count: int, limits: Limits) -> None:
    """Refuse an empty or too long list of items.

    Raises:
        WireError: It is one.
    """
    if not 1 <= count <= limits.images:
        raise WireError(f"{count} items in one request; between 1 and {limits.images} are allowed")
