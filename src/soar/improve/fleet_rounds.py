"""A fleet that collects while the loop trains: its robots stop for nothing but a person.

    round N is collected ─► train candidate N ─► evaluate ─► one robot tries it, in round N + 1 ─► all have it, or nobody
    round N + 1 is collected, with the policy before it ─────────────────────────────► with candidate N

The next round begins as soon as one has its episodes. A candidate that is good enough in evaluations, or every one where there
are none, is brought to the robots between two episodes (`soar.fleet.deploying`): first to a canary, and the sentence of that
is what the journal says of its promotion. Robots that have collected a round before its policy is there go on only for the
canary's attempts; they pause otherwise, with the coordinator there. Each episode names the policy that made it.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from soar.errors import SoarError
from soar.evaluation.canary import canary_verdict
from soar.evaluation.promotion import Verdict
from soar.fleet.asking import ask
from soar.fleet.config import load_fleet
from soar.fleet.deployment import manifest_of
from soar.fleet.status import RobotStatus, phases_said
from soar.improve.config import ImproveConfig
from soar.progress import Progress
from soar.run_folder import RunFolder

_LOOKS_S = 0.3
_DEPLOYING_S = 120.0


class FleetRounds:
    """Collects the rounds of one run, one after another, in a thread.

    Args:
        config: Of the run; its fleet is this one.
        folder: Of the run.
        on_progress: Called while somebody waits for a round.
        on_ready: Called with the coordinator's address, once.
    """

    def __init__(
        self,
        config: ImproveConfig,
        folder: RunFolder,
        on_progress: Progress,
        on_ready: Callable[[str], None] = lambda url: None,
    ) -> None:
        assert config.fleet is not None
        fleet = load_fleet(config.fleet)
        self._collection = config.preset.improvement.collection
        self._fleet = dataclasses.replace(fleet, episodes=self._collection.episodes, seed=config.seed)
        self._config, self._folder, self._on_progress = config, folder, on_progress
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="fleet")
        self._collecting: Future[int] | None = None
        self._round, self._port = 0, config.port
        self._on_ready, self._ready = on_ready, False
        self._tick: tuple[int, int, list[RobotStatus]] | None = None
        self._ended, self._awaited = threading.Event(), threading.Event()

    def begin(self, round: int, policy: Path) -> None:
        """Let the robots collect a round, unless they do: with a policy, until another one is brought to them."""
        if self._round == round:
            return
        self._round, self._tick = round, None
        self._awaited.clear()
        self._collecting = self._thread.submit(self._collect, round, policy)

    def finish(self, round: int, policy: Path) -> None:
        """Wait until a round has its episodes; `policy` is what it begins with, if it has not begun.

        Raises:
            SoarError: Somebody stopped the fleet before.
        """
        self.begin(round, policy)
        assert self._collecting is not None
        self._awaited.set()
        with self._folder.timed(f"collect, round {round}"):
            while not wait([self._collecting], _LOOKS_S).done:
                if self._tick is not None:
                    done, total, robots = self._tick
                    self._on_progress(f"collect, round {round}", min(done, total), total, phases_said(robots))
            count = self._collecting.result()
        if count < self._fleet.episodes:
            raise SoarError(
                f"stopped: {count} of the {self._fleet.episodes} episodes of round {round} are there and are kept. Run "
                "the same command again to go on."
            )

    def try_out(self, candidate: Path) -> Verdict:
        """Bring a policy to the robots that work, first to one of them, and return what came of it.

        Raises:
            SoarError: The fleet ended meanwhile.
        """
        version = manifest_of(candidate).version
        state = self._state()
        if (state["deployment"] or {}).get("version") != version:
            working = [robot["name"] for robot in state["robots"] if robot["phase"] in ("collecting", "paused")]
            able = working or list(self._fleet.robots)
            canary = able[(self._round - 2) % len(able)] if self._fleet.canary else ""  # another one in each round
            body = {"policy": str(candidate.absolute()), "canary": canary, "episodes": max(1, self._fleet.canary)}
            state = ask(str(self._folder.path), "POST", "/v1/deploy", body, timeout_s=_DEPLOYING_S)
        with self._folder.timed(f"canary, round {self._round}"):
            while not state["deployment"]["done"]:
                tried = state["deployment"]["tried"]
                done = tried["episodes"] + tried["faults"]
                self._on_progress(f"canary, round {self._round}", done, self._fleet.canary, state["deployment"]["canary"])
                time.sleep(_LOOKS_S)
                state = self._state()
        deployment = state["deployment"]
        return Verdict(promote=deployment["done"] == "promoted", sentence=deployment["sentence"])

    def close(self) -> None:
        """Let the robots end the episodes that they are at, and end; Ctrl-C while that takes its time stops them now."""
        self._ended.set()
        try:
            self._thread.shutdown()
        except KeyboardInterrupt:
            ask(str(self._folder.path), "POST", "/v1/orders", {"do": "stop"})
            self._thread.shutdown()
            raise

    def _state(self) -> dict[str, Any]:
        assert self._collecting is not None
        while True:
            try:
                return ask(str(self._folder.path), "GET", "/v1/status")
            except SoarError:
                if self._collecting.done():
                    self._collecting.result()
                    raise
                time.sleep(_LOOKS_S)  # it begins, or is busy

    def _collect(self, round: int, policy: Path) -> int:
        from soar.fleet.running import run_fleet  # needs what servers need; a loop without a fleet does not

        def on_ready(url: str) -> None:
            first, self._ready = not self._ready, True
            self._port = urlsplit(url).port or 0  # robots that joined ask there for the next round
            if first:
                self._on_ready(url)

        def on_tick(done: int, total: int, robots: list[RobotStatus]) -> None:
            self._tick = done, total, robots

        return run_fleet(
            self._fleet,
            self._folder.path,
            decide=canary_verdict,
            round=round,
            models=dataclasses.replace(self._config.models, policy=str(policy.absolute())),
            collection=self._collection,
            host=self._config.host,
            port=self._port,
            others=self._config.tokens,
            on_ready=on_ready,
            on_tick=on_tick,
            held=True,
            stopping=self._ended.is_set,
            idle=lambda: not self._awaited.is_set(),
            followed=round < self._config.preset.improvement.rounds,
        )
