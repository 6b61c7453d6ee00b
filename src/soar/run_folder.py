"""The folder of a run: its configuration, its policies, which one is deployed, and what happened.

What is finished is what the folder says: nothing is remembered elsewhere, so that a run that was killed at any point goes on.
The journal decides; `current` is a convenience for people and robots, and is put right when a run goes on.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from soar.errors import SoarError
from soar.event_log import Journal, read_journal


@dataclasses.dataclass(frozen=True, slots=True)
class RunFolder:
    """The files of one run under `path`."""

    path: Path

    @property
    def episodes(self) -> Path:
        """The dataset."""
        return self.path / "episodes"

    @property
    def pretraining(self) -> Path:
        """Demonstrations that are co-trained on."""
        return self.path / "pretraining"

    @property
    def report(self) -> Path:
        """The page for people."""
        return self.path / "report.html"

    @property
    def journal_file(self) -> Path:
        """What happened."""
        return self.path / "events.jsonl"

    @property
    def journal(self) -> Journal:
        """Appends to what happened."""
        return Journal(self.journal_file)

    def policy(self, number: int) -> Path:
        """Return the folder of policy `number`: 0 is the one that the run began with, N the candidate of round N."""
        return self.path / "policies" / f"{number:03d}"

    @property
    def collector(self) -> Path:
        """The policy that collects, where it is not the deployed one."""
        return self.path / "policies" / "collector"

    @property
    def learner(self) -> Path:
        """The folder of another policy that learns from what the first one collects, if there is one."""
        return self.path / "policies" / "learner"

    def evaluation(self, number: int) -> Path:
        """Return the file of policy `number`'s evaluation."""
        return self.path / "evaluations" / f"{number:03d}.json"

    def evaluation_beside(self, deployed: int, candidate: int) -> Path:
        """Return the file of what the deployed policy did when a person tried it in turn with a candidate.

        It is that policy's own evaluation the first time, which is when it is the first one and no candidate was decided about.
        """
        if deployed == 0 and not any(event["candidate"] < candidate for event in self.events("promotion")):
            return self.evaluation(0)
        return self.path / "evaluations" / f"{deployed:03d}-beside-{candidate:03d}.json"

    def events(self, event: str) -> list[dict[str, Any]]:
        """Return the events of one name, oldest first."""
        return read_journal(self.journal_file, event)

    def deployed(self, before_round: int | None = None) -> int:
        """Return the number of the policy that is deployed when a round begins; None: after all that happened."""
        promoted = [
            event["candidate"]
            for event in self.events("promotion")
            if event["promote"] and (before_round is None or event["round"] < before_round)
        ]
        return int(promoted[-1]) if promoted else 0

    def on_trial(self) -> int | None:
        """Return the number of the candidate that is deployed on trial, not judged yet, if there is one."""
        promotions = self.events("promotion")
        judged = {event["candidate"] for event in promotions}
        judged |= {event["deployed"] for event in promotions if "by" in event and event["promote"]}  # a person left it
        waiting = [int(event["candidate"]) for event in self.events("on_trial") if event["candidate"] not in judged]
        return waiting[-1] if waiting else None

    def in_use(self) -> int:
        """Return the number of the policy that robots use now: the one on trial, or else the deployed one."""
        on_trial = self.on_trial()
        return self.deployed() if on_trial is None else on_trial

    def point_at(self, number: int) -> None:
        """Let `current` name a policy, atomically."""
        link = self.path / "policies" / "current"
        target = self.policy(number).name
        if link.is_symlink() and os.readlink(link) == target:
            return
        aside = link.with_name(".current")
        try:
            aside.unlink(missing_ok=True)
            aside.symlink_to(target)
            aside.replace(link)
        except OSError as error:
            raise SoarError(
                f"cannot write {link}: {error.strerror}. Run the same command again when it can be written."
            ) from error

    @contextmanager
    def timed(self, phase: str, device: str = "cpu") -> Iterator[None]:
        """Journal how long a phase took, by the clock and of processors; parts of one that was interrupted add up.

        Args:
            phase: Its name.
            device: Of torch, that it keeps busy.
        """
        begun, cpu_s = time.monotonic(), sum(os.times()[:4])
        try:
            yield
        finally:
            # Processes that this one started count once they have ended.
            used_s = sum(os.times()[:4]) - cpu_s
            self.journal.append("phase", name=phase, seconds=time.monotonic() - begun, cpu_seconds=used_s, device=device)

    def phases(self) -> dict[str, float]:
        """Return the seconds of each phase."""
        seconds: dict[str, float] = {}
        for event in self.events("phase"):
            seconds[event["name"]] = seconds.get(event["name"], 0.0) + float(event["seconds"])
        return seconds
