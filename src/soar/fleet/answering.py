"""How a coordinator answers: with an error that says what is wrong, and at once what all robots ask for again and again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ValidationError

from soar.errors import SoarError, UnknownNameError
from soar.fleet.leases import LedgerRefusedError
from soar.fleet.tokens import AtOnce
from soar.serving.application import problem
from soar.untrusted import parse_json

M = TypeVar("M", bound=BaseModel)


def at_once(kind: type[M], answer: Callable[[M], Awaitable[dict[str, Any]]]) -> AtOnce:
    """Return what answers bodies of one kind without FastAPI (`soar.fleet.tokens.TokenAuth`); errors are those of all requests.

    Args:
        kind: Of body.
        answer: To one; JSON-able.
    """

    async def answered(data: bytes) -> Response:
        try:
            body = kind.model_validate(parse_json(data))
        except ValidationError as error:
            return _malformed(error.errors())
        except ValueError as error:
            return problem(422, str(error)[:200])
        try:
            return JSONResponse(await answer(body))
        except SoarError as error:
            return _wrong(error)

    return answered


def explain_errors(app: FastAPI) -> None:
    """Let an application say in words what is wrong with a request."""

    @app.exception_handler(RequestValidationError)
    async def malformed(_request: Request, error: RequestValidationError) -> JSONResponse:
        return _malformed(error.errors())

    @app.exception_handler(HTTPException)
    async def refused(_request: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, str(error.detail))

    @app.exception_handler(SoarError)
    async def wrong(_request: Request, error: SoarError) -> JSONResponse:
        return _wrong(error)


def _malformed(errors: Sequence[Any]) -> JSONResponse:
    return problem(422, "; ".join(f"{'.'.join(map(str, e['loc']))[:80]}: {e['msg'][:200]}" for e in errors[:3]))


def _wrong(error: SoarError) -> JSONResponse:
    # On a full disk, which may be emptied, the robot keeps its episodes and tries again.
    return problem(409 if isinstance(error, LedgerRefusedError | UnknownNameError) else 503, str(error))
