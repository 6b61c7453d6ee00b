"""A run as collection leaves it, small, and the console that shows it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import numpy as np

from soar.console.application import console_application
from soar.console.sources import open_sources
from soar.episodes import EpisodeStore
from soar.episodes.encoded import encode
from soar.event_log import Journal
from soar.fleet.tokens import Bearer, Tokens
from soar.seeding import generator
from soar.types import Episode, Label, Provenance, Subgoal
from tests.episodes.builders import make_episode
from tests.serving.running import running

TOKENS = {role: f"the-token-of-the-{role}" for role in ("operator", "labeller", "viewer")}
OTHERS = {
    "labeller": Bearer(token=TOKENS["labeller"], may=("look", "label")),
    "viewer": Bearer(token=TOKENS["viewer"], may=("look",)),
}
TASKS = ("put the carrot on the plate", "open the drawer", "fold the cloth")
NOW_S = time.time()


def episode(number: int, *, size: int = 48, steps: int = 12, **changes: Any) -> Episode:
    """Episode `number` of a run: its task, verdict, robot and policy follow from the number."""
    draw = generator(number, "console test").random
    p = float(draw())
    success = None if number % 7 == 3 else p >= 0.5
    label = Label(
        success=success,
        probability=None if success is None else p,
        source="vqa-1",
        question="is it in?",
        answer="yes" if success else "no",
        time_s=NOW_S - 1000,
    )
    made = make_episode(f"run-000-arm-{number % 2}-{number:05d}", steps=steps, size=size, seed=number)
    t = np.linspace(0, 1, steps + 1, dtype=np.float32)
    states = np.stack([0.2 + 0.1 * t, 0.1 * np.sin(6 * t), 0.15 - 0.1 * t, *([np.zeros_like(t)] * 3), t < 0.6], 1)
    images = _table(number, size, steps, states)
    return replace(
        made,
        instruction=TASKS[number % len(TASKS)],
        images_THWC=images,
        states_TD=states.astype(np.float32),
        subgoals=(Subgoal(step=0, image_HWC=images[steps // 2]), Subgoal(step=steps // 2, image_HWC=images[-1])),
        labels=(label,),
        provenance=Provenance(
            policy=f"gcbc-{number // 20}",
            vlm="vqa-1",
            subgoal_model="flow-1",
            robot=f"arm-{number % 2}",
            run="run",
            seed=number,
        ),
        **changes,
    )


def _table(number: int, size: int, steps: int, states: Any) -> Any:
    """A table from above, with a thing on it and a gripper that goes there."""
    rows, columns = np.mgrid[0:size, 0:size] / size
    images = np.empty((steps + 1, size, size, 3), np.uint8)
    for step in range(steps + 1):
        image = np.stack([200 - 30 * rows, 190 - 30 * rows, 170 - 40 * columns], 2)
        thing = (rows - 0.6) ** 2 + (columns - 0.3 - 0.04 * (number % 8)) ** 2 < 0.01
        image[thing] = [(220, 120, 40), (60, 140, 90), (70, 90, 190)][number % 3]
        gripper = (abs(rows - 0.15 - 0.45 * step / steps) < 0.05) & (abs(columns - 0.35) < 0.09)
        image[gripper] = (50, 50, 55)
        images[step] = image
    return images


def make_run(folder: Path, count: int = 30, *, audited: bool = False, **how: Any) -> Path:
    """A run with so many episodes, and a journal; audited by somebody with whom the judge often agrees."""
    run = folder / "run"
    store = EpisodeStore(run / "episodes", mode="create")
    encoded = [replace(encode(episode(number, **how)), created_s=NOW_S - 60 * (count - number)) for number in range(count)]
    if audited:
        truths = [
            generator(number, "truth").random() < (one.labels[0].probability or 0.4) for number, one in enumerate(encoded)
        ]
        words = [Label(success=bool(truth), probability=None, source="person:ada", time_s=NOW_S) for truth in truths]
        encoded = [replace(one, labels=(*one.labels, word)) for one, word in zip(encoded, words, strict=True)]
    store.append(encoded)
    journal = Journal(run / "events.jsonl")
    for number in range(count):
        journal.append("proposal", robot=f"arm-{number % 2}", index=number, instruction="x", random=False, asked=3)
        if number % 10 == 4:
            journal.append("fault", robot="arm-0", index=number, kind="motor", detail="joint 3 is hot")
    journal.append("phase", name="collect, round 1", seconds=321.0)
    journal.append("promotion", round=1, candidate=1, deployed=0, promote=True, sentence="Candidate 1 is promoted: .6 and .4.")
    (run / "config.yaml").write_text("command: soar improve\nworkcell: sim:scene1\nseed: 0\n")
    return run


@contextmanager
def console(*names: Path | str, tokens: Tokens | None = None, wait: bool = False) -> Iterator[str]:
    """The console of some runs or stores, served as `soar console` does; yields its address."""
    sources = open_sources([str(name) for name in names], wait=wait)
    with running(console_application(sources, tokens or Tokens(operator=TOKENS["operator"], others=OTHERS))) as url:
        yield url


class Client:
    """A program, or a page, that talks to a console."""

    def __init__(self, url: str, role: str = "operator", **headers: str) -> None:
        authorization = {"Authorization": f"Bearer {TOKENS[role]}"} if role else {}
        self.http = httpx2.Client(base_url=url, headers=authorization | headers, timeout=600)

    def get(self, path: str, **query: Any) -> httpx2.Response:
        return self.http.get(path, params=query or None)

    def page(self, path: str, **query: Any) -> str:
        answer = self.http.get(path, params=query or None, headers={"Accept": "text/html"})
        assert answer.status_code == 200, answer.text
        return answer.text

    def post(self, path: str, **body: Any) -> httpx2.Response:
        return self.http.post(path, json=body)
