"""The coordinator's side of a new policy (`soar.fleet.deployment`): who runs which version, and what came of it.

    RUN/deployed/VERSION    a copy of each policy that was deployed: robots fetch from it
    RUN/events.jsonl        `deploy` and `deployed`, with the sentence; all else is counted from `episode` and `fault`

Nothing is remembered but the journal: a coordinator that begins again knows where a policy was on its way.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from soar.errors import ConfigError, SoarError, UnknownNameError
from soar.event_log import Journal, read_journal
from soar.fleet.deployment import Decide, Deployment, Manifest, Tally, fetched, manifest_of, policy_in, tally_of, warm_up
from soar.policies.loading import load_policy

log = logging.getLogger(__name__)
_FOR_ALL = "no canary was asked for"
CHUNK = 2**20
"""Of a file that a robot fetches, at once [bytes]."""


class Deployments:
    """Which policy each robot is to run. Safe to use from several threads.

    Args:
        folder: Of the copies.
        journal: Of the run; read once.
        robots: That there are.
        round: Deployments of other rounds do not count: each begins with a policy of its own.
        first: Id of the policy that the round begins with.
        decide: Judges what a canary did.
        begin_with: Files of the policy that the round begins with, for robots that fetch it; None: they have it.
    """

    def __init__(
        self,
        folder: Path,
        journal: Journal,
        robots: Collection[str],
        *,
        round: int,
        first: str,
        decide: Decide,
        begin_with: Path | None = None,
    ) -> None:
        self._folder, self._journal, self._robots, self._round, self._decide = folder, journal, robots, round, decide
        self._lock, self._beginning = threading.RLock(), threading.Lock()
        self._tallies: defaultdict[tuple[str, str], Tally] = defaultdict(Tally)  # by policy and scene
        self._ids, self._first = {"": first}, ""
        self._manifests: dict[str, Manifest] = {}
        self._before: dict[str, Tally] = {}
        self.now: Deployment | None = None
        if begin_with is not None:
            self._first, id = self._copied(begin_with)
            self._ids[self._first] = id
        for event in read_journal(journal.path):
            self._apply(event)

    def begin(self, policy: Path, canary: str = "", episodes: int = 20) -> Deployment:
        """Bring a policy to the robots; one that was being tried is given up.

        Args:
            policy: Its folder or ONNX file.
            canary: The robot that tries it first; empty: all have it at once.
            episodes: Attempts of the canary before it is decided.

        Raises:
            UnknownNameError: There is no such robot.
            ConfigError: There is no policy, or all robots are to run it already.
            CheckpointError: It is damaged, or cannot act.
            SoarError: It cannot be copied.
        """
        if canary and canary not in self._robots:
            raise UnknownNameError("robot", canary, self._robots, "The fleet's file lists them.")
        with self._beginning:
            version, id = self._copied(policy)
            with self._lock:
                standing = self.now.standing if self.now is not None else ""
                if standing == version or self._ids[standing] == id:
                    raise ConfigError(f"{policy}: all robots are to run that policy ({id}) already")
                self._end("rolled back", "another policy was deployed before this one was tried to the end")
                which = {"version": version, "policy": id}
                begins = ("deploy", which | {"previous": standing, "canary": canary, "wanted": episodes})
                ends = ("deployed", which | {"done": "promoted", "sentence": _FOR_ALL})
                self._append(begins, *(() if canary else (ends,)))
                assert self.now is not None
                return self.now

    def count(self, policy: str, scene: str, did: Tally) -> None:
        """Take note of what was done with a policy, by its id, in a scene; that may decide about it.

        A canary is compared with what robots did before in its own scene: another one may be easier. A decision that cannot be
        written down now is made again after its next attempt.
        """
        with self._lock:
            self._tallies[policy, scene] += did
            now = self.now
            if now is None or now.done or policy != now.policy:
                return
            old, each = self._ids[now.previous], self._tried()
            before, tried = _sum(self._tallies[old, where] for where in each), _sum(each.values())
        verdict = self._decide(now, before, tried, old)  # may take a while, and robots ask meanwhile
        if verdict is not None:
            promote, sentence = verdict
            with self._lock:
                if self.now is now:
                    try:
                        self._end("promoted" if promote else "rolled back", sentence)
                    except SoarError as error:
                        log.warning("%s", error)

    def refused(self, robot: str, version: str, why: str) -> None:
        """Take note of a robot that cannot use a version, and runs the one before it.

        Raises:
            SoarError: The journal cannot be written.
        """
        with self._lock:
            if self.now is not None and (robot, version) == (self.now.canary, self.now.version):
                self._end("rolled back", f"{robot} cannot use it: {why}")

    def for_robot(self, robot: str) -> str:
        """Return the version that a robot is to run; empty for the policy that the round began with.

        Every beat asks, and waits for nobody who holds the lock while the disk is waited for.
        """
        now = self.now
        return (now.for_robot(robot) if now is not None else "") or self._first

    @property
    def trying(self) -> bool:
        """Whether a canary tries a policy, about which nothing is decided yet."""
        with self._lock:
            return self.now is not None and not self.now.done

    def manifest(self, version: str) -> Manifest:
        """Return what a version consists of.

        Raises:
            UnknownNameError: It was never deployed.
            ConfigError: Its copy is gone.
        """
        with self._lock:
            if not version or version not in self._ids:
                raise UnknownNameError("policy", version, [known for known in self._ids if known])
            if version not in self._manifests:
                self._manifests[version] = manifest_of(policy_in(self._folder / version))
            return self._manifests[version]

    def chunk(self, version: str, number: int, offset: int) -> bytes:
        """Return bytes of a file of a version, none at its end.

        Raises:
            ConfigError: There is no such file.
            SoarError: It cannot be read.
        """
        files = self.manifest(version).files
        if not 0 <= number < len(files) or offset < 0:
            raise ConfigError(f"policy {version} has {len(files)} files; there is no number {number}, or no offset {offset}")
        try:
            with (self._folder / version / files[number].name).open("rb") as file:
                file.seek(offset)
                return file.read(CHUNK)
        except OSError as error:
            raise SoarError(
                f"{self._folder / version}: cannot be read: {error.strerror}. Put it back, or deploy the policy again"
            ) from error

    def state(self) -> dict[str, Any] | None:
        """Return the newest deployment, JSON-able, with what its canary did so far; None when there was none."""
        with self._lock:
            if self.now is None:
                return None
            return asdict(self.now) | {"tried": asdict(_sum(self._tried().values()))}

    def _tried(self) -> dict[str, Tally]:
        """Return what was done with the policy that is tried since it is, by scene."""
        assert self.now is not None
        mine = {where: tally for (policy, where), tally in self._tallies.items() if policy == self.now.policy}
        since = {where: tally.since(self._before.get(where, Tally())) for where, tally in mine.items()}
        return {where: tally for where, tally in since.items() if tally != Tally()}

    def _copied(self, policy: Path) -> tuple[str, str]:
        """Copy a policy, let the copy act once, and return its version and its id."""
        manifest = manifest_of(policy)
        base = policy.parent if policy.is_file() else policy

        def read(number: int, offset: int) -> bytes:
            return (base / manifest.files[number].name).read_bytes()[offset:]

        known = (self._folder / manifest.version).exists()
        copy = fetched(manifest.version, self._folder, lambda: asdict(manifest), read)
        try:
            opened = load_policy(str(copy))
            warm_up(opened)
        except SoarError:
            if not known:
                shutil.rmtree(self._folder / manifest.version, ignore_errors=True)
            raise
        finally:
            load_policy.cache_clear()  # nobody acts with it here
        self._manifests[manifest.version] = manifest
        return manifest.version, opened.id

    def _end(self, done: str, sentence: str) -> None:
        if self.now is not None and not self.now.done:
            which = {"version": self.now.version, "policy": self.now.policy}
            self._append(("deployed", which | {"done": done, "sentence": sentence}))

    def _append(self, *events: tuple[str, Mapping[str, Any]]) -> None:
        """Write down events, all or none, and take note of them."""
        self._journal.append_all([(event, {"round": self._round, **fields}) for event, fields in events])
        for event, fields in events:
            self._apply({"event": event, "round": self._round, **fields})

    def _apply(self, event: Mapping[str, Any]) -> None:
        """Take note of an event of the journal."""
        kind, policy, scene = event["event"], str(event.get("policy", "")), str(event.get("scene", ""))
        if kind == "episode" and policy:
            self._tallies[policy, scene] += tally_of(event)
        elif kind == "fault" and policy:
            self._tallies[policy, scene] += Tally(faults=1)
        elif kind == "deploy" and event["round"] == self._round:
            names = ("version", "policy", "previous", "canary", "wanted")
            self.now = Deployment(**{name: event[name] for name in names})
            if not self.now.canary:  # also when the line that says so was torn: nobody tries it
                self.now.done, self.now.sentence = "promoted", _FOR_ALL
            self._ids[self.now.version] = policy
            self._before = {where: tally for (name, where), tally in self._tallies.items() if name == policy}
        elif kind == "deployed" and event["round"] == self._round and self.now is not None:
            self.now.done, self.now.sentence = event["done"], event["sentence"]


def _sum(tallies: Iterable[Tally]) -> Tally:
    return sum(tallies, Tally())
