"""An OpenAI-compatible server with a bad day: `python faulty_server.py` prints its port, and serves until it is killed.

The first part of the path says what goes wrong: `base_url` is http://127.0.0.1:PORT/busy/v1, and so on.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse

app = FastAPI()
seen: defaultdict[str, list[Any]] = defaultdict(list)
in_flight: Counter[str] = Counter()
most: Counter[str] = Counter()
pairs = asyncio.Barrier(2)
SOON = {"Retry-After": "0.01"}
STATUS = {"busy": 429, "broken": 500, "down": 503, "key": 401, "model": 404}


def completion(text: str | None, logprobs: Any = None) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}, "logprobs": logprobs}
    usage = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
    return {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}


def alternatives(**log: float) -> dict[str, Any]:
    top = [{"token": token, "logprob": value, "bytes": None} for token, value in log.items()]
    return {"content": [{"token": "\n", "logprob": 0.0, "bytes": None, "top_logprobs": []}, {**top[0], "top_logprobs": top}]}


async def chunks(texts: list[str], logprobs: Any, *, endless: bool = False) -> AsyncIterator[str]:
    def event(value: Any) -> str:
        return f"data: {json.dumps(value)}\n\n"

    base = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "m"}
    while True:
        for text in texts:
            choice = {"index": 0, "delta": {"content": text}, "logprobs": logprobs, "finish_reason": None}
            yield event({**base, "choices": [choice]})
            await asyncio.sleep(0)
            logprobs = None
        if not endless:
            break
    yield event({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    yield event({**base, "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}})
    yield "data: [DONE]\n\n"


async def torn() -> AsyncIterator[bytes]:
    yield b'data: {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": []}\n\n'
    raise ConnectionError("the server dies")


@app.get("/{scenario}/seen")
async def what_was_seen(scenario: str) -> dict[str, Any]:
    return {"bodies": seen[scenario], "most": most[scenario]}


@app.get("/{scenario}/v1/models")
async def models(scenario: str) -> Response:
    return JSONResponse({"object": "list", "data": []}, STATUS.get(scenario, 200))


@app.post("/{scenario}/v1/chat/completions")
async def chat(scenario: str, request: Request) -> Response:
    body = await request.json()
    seen[scenario].append(body)
    in_flight[scenario] += 1
    most[scenario] = max(most[scenario], in_flight[scenario])
    try:
        return await respond(scenario, body)
    finally:
        in_flight[scenario] -= 1


async def respond(scenario: str, body: dict[str, Any]) -> Response:
    times = len(seen[scenario])
    logprobs = alternatives(Yes=-0.5, No=-1.0, The=-4.0) if "logprobs" in body else None
    if scenario in STATUS and (scenario not in ("busy", "broken") or times <= 2):
        return JSONResponse({"error": {"message": f"{scenario} today"}}, STATUS[scenario], SOON)
    if scenario == "refusing" and {"logprobs", "stream_options"} & set(body):
        return JSONResponse({"error": {"message": "unsupported field"}}, 400)
    if scenario == "detail" and "structured_outputs" in body:
        return JSONResponse({"detail": "Unexpected fields: structured_outputs"}, 422)
    if scenario == "hang":
        await asyncio.Event().wait()
    if scenario == "pairs":
        await pairs.wait()
    if scenario == "drop":
        return StreamingResponse(torn(), headers={"Content-Length": "1000"}, media_type="application/json")
    if scenario == "html":
        return HTMLResponse("<html>yes</html>")
    if scenario == "json":
        return Response("{yes", media_type="application/json")
    if scenario == "empty":
        return JSONResponse({})
    if scenario == "null":
        return JSONResponse(completion(None))
    if scenario == "long":
        return JSONResponse(completion("yes " * 300_000))
    if body.get("stream"):
        if scenario == "torn":
            return StreamingResponse(torn(), media_type="text/event-stream")
        texts = ["word "] if scenario == "endless" else ["\n", "Yes", "."]
        return StreamingResponse(chunks(texts, logprobs, endless=scenario == "endless"), media_type="text/event-stream")
    if scenario == "wordy":
        return JSONResponse(completion("The drawer is shut, so no."))
    return JSONResponse(completion("\nYes.", logprobs))


if __name__ == "__main__":
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    uvicorn.Server(uvicorn.Config(app, log_level="critical")).run(sockets=[listener])
