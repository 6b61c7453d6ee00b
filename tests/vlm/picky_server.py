"""A server in a thread that looks at what it is asked before it answers, over a real connection."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, Any]


def completion(
    content: Any, *, logprobs: Any = None, finish: str | None = "stop", usage: Any = None, **message: Any
) -> dict[str, Any]:
    """Return a chat completion."""
    choice = {
        "index": 0,
        "finish_reason": finish,
        "message": {"role": "assistant", "content": content, **message},
        "logprobs": logprobs,
    }
    return {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}


def tokens(*made: tuple[str, dict[str, float]]) -> dict[str, Any]:
    """Return log-probabilities as servers send them."""
    return {
        "content": [
            {
                "token": text,
                "logprob": -0.1,
                "bytes": list(text.encode()),
                "top_logprobs": [{"token": t, "logprob": p, "bytes": None} for t, p in others.items()],
            }
            for text, others in made
        ]
    }


@contextmanager
def picky(reply: Callable[[dict[str, Any]], Reply]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Serve, and yield the address and the requests so far; the body of an answer may be a list of events of a stream."""
    asked: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(request)
            status, body = reply(request)
            events = isinstance(body, list)
            text = (
                "".join(f"data: {json.dumps(event)}\n\n" for event in body) + "data: [DONE]\n\n" if events else json.dumps(body)
            )
            data = text.encode()
            self.send_response_only(status)
            self.send_header("Content-Type", "text/event-stream" if events else "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1", asked
        finally:
            server.shutdown()
            thread.join()
