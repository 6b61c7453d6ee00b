"""Hostile requests to servers, and hostile replies to clients, as rows of docs/reliability.md: `soak(folder, scale)`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from soar.episodes import EpisodeStore, tables
from soar.event_log import read_journal
from soar.remote.wire import pack
from soar.seeding import generator

from .hostile_server import Bytes, hostile, says
from .lying import IMAGE, policy_request, reply, request
from .requests import Address, complete, post, status
from .server_process import TOKEN, Watched, server_process
from .tally import Tally

_WAIT_S, _MOMENT_S = 600.0, 0.3
_LATE = ("no complete answer in", "timed out")
_THREADS = 4
_REPLIES = 100
"""That an episode takes, about."""
ROOT = Path(__file__).parents[2]
ANSWERS: dict[str, Any] = {
    "policy": {
        **{"kind": "policy", "protocol": 1, "model": "p", "conditioning": "goal", "execute": 1},
        **{"image_size": None, "action_std": [1.0] * 7},
    },
    "subgoal": {"kind": "subgoal", "protocol": 1, "model": "s"},
    "actions": {"model": "p", "chunks": [[[0.01, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]]]},
    "subgoals": {"model": "s", "images": [pack(IMAGE)]},
    "models": {"object": "list", "data": []},
    "completions": {
        **{"id": "x", "object": "chat.completion", "created": 0, "model": "m"},
        "choices": [
            {
                **{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Yes."}},
                "logprobs": {
                    "content": [
                        {
                            **{"token": "Yes", "logprob": -0.1, "bytes": [89]},
                            "top_logprobs": [{"token": word, "logprob": -0.1, "bytes": None} for word in ("Yes", "No")],
                        }
                    ]
                },
            }
        ],
        "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10},
    },
}
"""What an honest server says, by the last part of the path; a description by the kind."""
DRIVER = """
from soar.testing import FakeRobot
class Arm(FakeRobot):
    def __init__(self): super().__init__(16)
"""


def fuzz_requests(server: Watched, count: int, seed: int = 0) -> Tally:
    """Send hostile requests; each is answered by what says what is wrong, or its connection is closed.

    Unclear are errors of the server, answers that are none, memory that doubled, and a server that does not answer afterwards.
    """
    tally = Tally(what="hostile requests to a model server", count=count)

    def one(index: int) -> bool:
        answer = exchange(server.address, *request(generator(seed, "hostile request", index), TOKEN))
        return not answer or (status(answer) in range(100, 505) and status(answer) != 500)

    with ThreadPoolExecutor(_THREADS) as pool:
        tally.unclear = sum(not well for well in pool.map(one, range(count)))
    server.look()
    tally.unclear += server.unwell + (server.resident() >= 2 * server.idle_bytes)
    tally.unclear += post(server.address, "/v1/actions", policy_request()) != 200
    return tally


def exchange(address: Address, data: bytes, torn: bool) -> bytes:
    """Send bytes, and return what comes back; when it is not all of a request, end it after a moment, and see the end of it."""
    answer = b""
    with suppress(ConnectionError), socket.create_connection(address, timeout=_MOMENT_S if torn else _WAIT_S) as connection:
        connection.sendall(data)
        while not complete(answer):
            try:
                part = connection.recv(65536)
            except TimeoutError:
                if not torn:
                    return b"nothing"
                connection.shutdown(socket.SHUT_WR)
                connection.settimeout(_WAIT_S)
                torn = False
                continue
            if not part:
                break
            answer += part
    return answer


def honest(first: str) -> Any:
    """What an honest server answers to the first line of a request."""
    path = first.split(" ")[1] if first.count(" ") >= 2 else "/"
    name = path.rpartition("/")[2]
    return ANSWERS[path.split("/")[1]] if name == "model" else ANSWERS.get(name, {})


def fuzz_replies(folder: Path, count: int, seed: int = 0) -> Tally:
    """Let `soar collect` collect from servers that lie, until they have lied so many times.

    Half are episodes that are not whole, unclear what is no clear end: a traceback, another status, escape codes.
    """
    tally = Tally(what="hostile replies to policy, subgoal model and VLM through a whole `soar collect`")
    folder.mkdir(parents=True, exist_ok=True)
    with hostile() as server:
        lied = 0

        def play() -> Bytes:
            nonlocal lied
            first = server.requests[-1][0]
            if first.split(" ")[1:2] and first.split(" ")[1].endswith(("/model", "/models")):
                return says(honest(first))()  # who cannot begin does not collect
            lied = lies = len(server.requests)
            return reply(generator(seed, "hostile reply", lies), honest(first), server.url)

        server.play = play
        write_models(folder, server.url)
        episodes = 0
        while len(server.requests) < count:
            episodes += 1 + (count - len(server.requests)) // _REPLIES
            told, before = lied, stored(folder)
            done = collect(folder, episodes)
            while done.returncode == 2 and lied == told and any(words in done.stderr for words in _LATE):
                done = collect(folder, episodes)  # a machine that is busy with other things was too slow to begin
            while done.returncode == 2 and "\nerror: " in done.stderr and stored(folder) == before:
                tally.unclear += strange(done)
                done = collect(
                    folder, episodes
                )  # it was refused before its first answer, and said so: somebody looks, and begins
            tally.unclear += done.returncode != 0 or strange(done)
            if done.returncode:
                print(done.stderr[-1000:], file=sys.stderr)  # noqa: T201
                break
        tally.count = len(server.requests)
    if tables.exist(str(folder / "run" / "episodes")):  # else the command did not begin, which is unclear
        check_store(folder / "run", episodes, tally)
    return tally


def strange(done: subprocess.CompletedProcess[str]) -> bool:
    """Whether a command said what no person should see."""
    return "Traceback" in done.stderr or "\x1b" in done.stdout + done.stderr


def stored(folder: Path) -> int:
    """How many episodes there are."""
    store = str(folder / "run" / "episodes")
    return len(list(EpisodeStore(store).episodes())) if tables.complete(store) else 0


def write_models(folder: Path, url: str) -> None:
    """Write the files that name a robot without a body and servers that lie."""
    remote = {"backend": "remote", "timeout_s": 0.5, "retries": 1, "probe_every_s": 0.0}
    vlm = {"backend": "openai", "model": "m", "base_url": f"{url}/vlm/v1", "timeout_s": 0.5, "retries": 1}
    files = {
        "policy.yaml": {**remote, "url": f"{url}/policy"},
        "subgoal.yaml": {**remote, "url": f"{url}/subgoal"},
        "vlm.yaml": vlm,
        "bench.yaml": {
            "robot": {"driver": "lying_arm:Arm"},
            "workspace": {"low": [0.15, -0.2, 0.02], "high": [0.4, 0.2, 0.2]},
            "scene": {"tasks": ["put the carrot on the plate", "open the drawer"]},
        },
    }
    for name, content in files.items():
        (folder / name).write_text(yaml.safe_dump(content))
    (folder / "lying_arm.py").write_text(DRIVER)


def collect(folder: Path, episodes: int) -> subprocess.CompletedProcess[str]:
    """Run `soar collect` until there are so many episodes."""
    models = ["--policy", "policy.yaml", "--subgoals", "subgoal.yaml", "--vlm", "vlm.yaml"]
    command = [sys.executable, "-m", "soar.cli", "collect", "--workcell", "bench.yaml", "--run", "run", *models]
    return subprocess.run(
        [*command, "--episodes", str(episodes)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENAI_API_KEY": "none"},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


def check_store(run: Path, episodes: int, tally: Tally) -> None:
    """Count what is not there, there twice, or not whole."""
    store = EpisodeStore(run / "episodes")
    records = list(store.episodes())
    tally.lost += max(episodes - len(records), 0)
    tally.doubled += sum(times - 1 for times in Counter(record.id for record in records).values())
    for record in records:
        episode = store.read(record.id)
        whole = len(episode.images_THWC) == len(episode.actions_TD) + 1 and np.isfinite(episode.actions_TD).all()
        tally.half += not whole
    list(read_journal(run / "events.jsonl"))


def soak(folder: Path, scale: float = 1.0, seed: int = 0) -> list[Tally]:
    """Do all of it, at a scale of 1 for 10,000 requests and 5,000 replies."""
    rows = []
    with server_process("policy") as server:
        rows.append(fuzz_requests(server, round(10_000 * scale), seed))
    rows.append(fuzz_replies(folder, round(5_000 * scale), seed))
    return rows
