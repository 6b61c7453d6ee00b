"""What questions to a vision-language model cost: calls, batches, and the way through a server.

    python benchmarks/vlm.py --out results/vlm.json

A proposal for a scene of six tasks must be one round of calls, which a server with dynamic batching answers as one batch; an
answer that is in the cache must cost no call. Times are CPU-seconds of client and server together, means of interleaved
repetitions: the same six questions to the small VQA model directly, and through `soar serve vlm` and the OpenAI client.
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import numpy as np

from soar.base_models import default_weights
from soar.evaluation.results import write_results
from soar.instruction_grammar import task_from_instruction
from soar.tasks import TaskProposer, UCBSelector
from soar.vlm.loading import load_vlm
from soar.vlm.openai_client import OpenAIConfig, OpenAIModel

TASKS = [
    task_from_instruction(f"{verb} the {thing} {where}")
    for thing in ("green block", "red fruit", "blue block")
    for verb, where in (("put", "in the wooden bowl"), ("move", "to the left side"))
]
REPETITIONS = 20


def counts(url: str, token: str) -> tuple[int, int]:
    """Return the server's batches and items so far."""
    about = httpx2.get(f"{url}/v1/model", headers={"Authorization": f"Bearer {token}"}).json()
    return about["batches"], about["items"]


def measure(url: str, server: int, token: str, folder: Path) -> list[dict[str, object]]:
    """Return the rows of the results."""
    images = [np.random.default_rng(i).integers(0, 256, (64, 64, 3), dtype=np.uint8) for i in range(REPETITIONS + 2)]
    questions = [task.question for task in TASKS]
    config = OpenAIConfig(
        model="vqa", base_url=f"{url}/v1", api_key_env="SOAR_TOKEN", cache=str(folder / "answers.sqlite"), when_away="stop"
    )
    remote, local = OpenAIModel(config), load_vlm(str(default_weights("vqa")))

    before = counts(url, token)
    TaskProposer(remote, TASKS, UCBSelector()).propose(images[0])
    after = counts(url, token)
    calls = remote.cache.spent[0]
    TaskProposer(OpenAIModel(config), TASKS, UCBSelector()).propose(images[0])
    again = remote.cache.spent[0] - calls
    rows: list[dict[str, object]] = [
        count("calls for a proposal of 6 tasks", calls, 6),
        count("batches that the server makes of them", after[0] - before[0], 1),
        count("calls for the same proposal again, by another client", again, 0),
    ]

    cpu: dict[str, float] = dict.fromkeys(("direct", "single", "served", "cached"), 0.0)
    for image in images[1:]:
        batch = [image] * 6
        works: dict[str, Callable[[], object]] = {
            "direct": lambda batch=batch: local.answer(batch, questions),
            "single": lambda batch=batch: [local.answer(batch[:1], [question]) for question in questions],
            "served": lambda batch=batch: remote.answer(batch, questions),
            "cached": lambda batch=batch: remote.answer(batch, questions),
        }
        for name, work in works.items():
            before_s = cpu_s(server)
            work()
            cpu[name] += (cpu_s(server) - before_s) / (len(images) - 1)
    rows += [
        ratio("CPU-ms for 6 questions, one batch / one by one, in this process", cpu["direct"], cpu["single"]),
        ratio("CPU-ms for 6 questions, through the server / one batch in this process", cpu["served"], cpu["direct"]),
        ratio("CPU-ms for 6 questions, known already / through the server", cpu["cached"], cpu["served"]),
    ]
    return rows


def cpu_s(server: int) -> float:
    """Return the CPU time of this process and the server's."""
    fields = Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()
    return time.process_time() + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def count(metric: str, ours: int, limit: int) -> dict[str, object]:
    """Return a row that counts something."""
    return {"metric": metric, "ours": ours, "theirs": "", "ratio": "", "limit": limit}


def ratio(metric: str, ours_s: float, theirs_s: float) -> dict[str, object]:
    """Return a row that compares two times."""
    values = {"ours": round(1e3 * ours_s, 2), "theirs": round(1e3 * theirs_s, 2), "ratio": round(ours_s / theirs_s, 3)}
    return {"metric": metric, **values, "limit": ""}


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/vlm.json"))
    out = parser.parse_args().out
    token = os.environ["SOAR_TOKEN"] = secrets.token_urlsafe(32)
    # The server waits for the six of a round, and goes on at once when it has them: if they came one after another, each
    # would wait two seconds, and be a batch of its own.
    command = [sys.executable, "-m", "soar.cli", "serve", "vlm", "--port", "0", "--max-batch", "6", "--wait-ms", "2000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, tempfile.TemporaryDirectory() as folder:
        assert server.stdout is not None
        url = server.stdout.readline().split()[-1]
        try:
            rows = measure(url, server.pid, token, Path(folder))
        finally:
            server.terminate()
    for line in rows:
        print(line)
    write_results(out, "python benchmarks/vlm.py", rows)


if __name__ == "__main__":
    main()
