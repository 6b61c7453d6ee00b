"""A new policy for robots that run: copied whole, verified, tried once, taken over between two episodes; first by one robot.

    coordinator   version = sha256 of the list of files        a canary collects N episodes with it; then all, or nobody
    robot         fetch ─► sha256 of each file ─► folder aside ─► renamed ─► one action on a blank picture ─► next session

A robot whose policy comes damaged, or cannot act, goes on with the one that it has, and says so. A copy that was damaged on its
disk later is fetched again when it is wanted next.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from soar.cameras import MAIN
from soar.errors import CheckpointError, ConfigError, SoarError
from soar.files import sync_file, sync_folder
from soar.policies.base import Policy, begin, cameras_of, told
from soar.types import Observation

_CHUNK = 2**20
_MOST_FILES, _MOST_BYTES = 100, 2 * 2**30
_VERSION = re.compile(r"[0-9a-f]{16}")
_ANY_SIZE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFile:
    """One file of a policy.

    Attributes:
        name: Relative to the policy's folder.
        size: In bytes.
        sha256: Of its content, in hexadecimal.
    """

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a policy consists of.

    Attributes:
        files: All of them, sorted by name; one that is called like the policy itself when that is one file (ONNX).
    """

    files: tuple[PolicyFile, ...]

    @property
    def version(self) -> str:
        """Names the content, whatever the folder is called."""
        return hashlib.sha256(json.dumps([asdict(file) for file in self.files]).encode()).hexdigest()[:16]


def manifest_of(policy: Path) -> Manifest:
    """Return what the policy in a folder, or in one file, consists of.

    Raises:
        ConfigError: There is nothing, or more than is allowed.
    """
    if not (policy.suffix == ".onnx" and policy.is_file()) and not (policy / "config.json").is_file():
        raise ConfigError(f"{policy}: no policy is there; name its folder, or an ONNX file of `soar export-policy`")
    paths = [policy] if policy.is_file() else sorted(path for path in policy.rglob("*") if path.is_file())
    if not paths or len(paths) > _MOST_FILES or sum(path.stat().st_size for path in paths) > _MOST_BYTES:
        raise ConfigError(
            f"{policy}: nothing, or more than {_MOST_FILES} files or {_MOST_BYTES >> 30} GB, and so no policy that "
            "robots are sent. Name the folder of one, not one above it"
        )
    base = policy.parent if policy.is_file() else policy
    return Manifest(
        files=tuple(
            PolicyFile(name=path.relative_to(base).as_posix(), size=path.stat().st_size, sha256=_digest(path)) for path in paths
        )
    )


def read_manifest(data: Any) -> Manifest:
    """Return the manifest that a coordinator sent; names that would leave the folder are refused.

    Raises:
        CheckpointError: It is none.
    """
    try:
        files = tuple(PolicyFile(name=str(f["name"]), size=int(f["size"]), sha256=str(f["sha256"])) for f in data["files"])
    except (TypeError, KeyError, ValueError) as error:
        raise CheckpointError(
            f"the coordinator's list of a policy's files is none: {error}. Install the same SOAR on both computers"
        ) from error
    for file in files:
        parts = Path(file.name).parts
        if not parts or Path(file.name).is_absolute() or ".." in parts or "\0" in file.name or "\\" in file.name:
            raise CheckpointError(
                f"the coordinator names a file {file.name[:80]!r} of a policy, which would not lie in its folder"
            )
    if not 0 < len(files) <= _MOST_FILES or not 0 <= sum(file.size for file in files) <= _MOST_BYTES:
        raise CheckpointError(
            f"the coordinator's policy has {len(files)} files, or is larger than {_MOST_BYTES >> 30} GB: it is no "
            "policy of SOAR's. Is this the address of the fleet?"
        )
    return Manifest(files=files)


def fetched(version: str, cache: Path, ask: Callable[[], Any], read: Callable[[int, int], bytes]) -> Path:
    """Return a policy on this computer: its folder, or its file when it is one file. One that is there, and whole, is not
    fetched again.

    Args:
        version: That is wanted.
        cache: Folder of the policies that were fetched.
        ask: Returns the manifest's JSON values.
        read: Returns bytes of the file of that number in the manifest, from an offset on.

    Raises:
        CheckpointError: What comes is not what was said.
        SoarError: It cannot be written.
    """
    if not _VERSION.fullmatch(version):
        raise CheckpointError(f"the coordinator wants a policy {version[:40]!r}, which is no version")
    target = cache / version
    if _is_version(target, version):
        return policy_in(target)
    manifest = read_manifest(ask())
    if manifest.version != version:
        raise CheckpointError(f"policy {version}: the coordinator sent the list of {manifest.version}")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=".fetching-", dir=cache))
    except OSError as error:
        raise SoarError(f"{cache}: a policy cannot be kept there: {error.strerror}. Free some space there") from error
    try:
        for number, file in enumerate(manifest.files):
            data = bytearray()
            while len(data) < file.size and (chunk := read(number, len(data))):
                data += chunk
            if len(data) != file.size or hashlib.sha256(data).hexdigest() != file.sha256:
                raise CheckpointError(f"policy {version}: {file.name} came damaged ({len(data)} bytes, {file.size} expected)")
            path = aside / file.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            sync_file(path)
        for folder in (aside, *(path for path in aside.rglob("*") if path.is_dir())):
            sync_folder(folder)
        if target.exists():  # damaged
            target.rename(Path(tempfile.mkdtemp(prefix=".damaged-", dir=cache)) / version)
        aside.rename(target)
        sync_folder(cache)
    except OSError as error:
        raise SoarError(f"{cache}: policy {version} cannot be kept there: {error.strerror}. Free some space there") from error
    finally:
        for left in (aside, *cache.glob(".damaged-*")):
            shutil.rmtree(left, ignore_errors=True)
    return policy_in(target)


def warm_up(policy: Policy) -> None:
    """Let a policy act once, on a blank picture.

    Raises:
        CheckpointError: It fails, or returns something else than an action of seven finite numbers.
    """
    size = policy.image_size or _ANY_SIZE
    blank = np.zeros((size, size, 3), np.uint8)
    further = {camera: blank for camera in cameras_of(policy) if camera != MAIN}
    seen = Observation(image_HWC=blank, state=np.zeros(7, np.float32), extra_images=further)
    try:
        begin(policy, "move")
        action = np.asarray(policy.act([seen], [told(policy, blank, "move")]))
    except Exception as error:
        raise CheckpointError(f"policy {policy.id} cannot act: {type(error).__name__}: {error}") from error
    finally:
        policy.reset()
    if action.shape != (1, 7) or not np.all(np.isfinite(action)):
        raise CheckpointError(f"policy {policy.id} cannot act: it returned {action.shape} {action.ravel()[:7]}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What robots did with a policy.

    Attributes:
        episodes: Stored.
        successes: Of those, judged ones.
        faults: Attempts that ended with one.
        steps: Actions of the policy in those episodes of which it is known which ones the safety shell changed.
        limited: Of those, changed ones.
    """

    episodes: int = 0
    successes: int = 0
    faults: int = 0
    steps: int = 0
    limited: int = 0

    def __add__(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(**{name: getattr(self, name) + getattr(other, name) for name in asdict(self)})

    def since(self, before: Tally) -> Tally:
        """What came after `before`."""
        return Tally(**{name: getattr(self, name) - getattr(before, name) for name in asdict(self)})


def tally_of(event: Mapping[str, Any]) -> Tally:
    """Return what an `episode` of the journal says of its policy; an older version wrote down nothing of limits."""
    known = event.get("limited") is not None
    limits = {"steps": int(event["steps"]), "limited": int(event["limited"])} if known else {}
    return Tally(episodes=1, successes=int(event.get("success") is True), **limits)


@dataclass(slots=True, kw_only=True)
class Deployment:
    """A new policy on its way to all robots.

    Attributes:
        version: Of the new policy.
        policy: Its id, which episodes name.
        previous: Version that all others run; empty for the policy that they began with.
        canary: The robot that tries it; empty for none: then it is for all at once.
        wanted: Attempts of the canary before anything is decided.
        done: "" while it is tried, then `promoted` or `rolled back`.
        sentence: Why.
    """

    version: str
    policy: str
    previous: str = ""
    canary: str = ""
    wanted: int = 20
    done: str = ""
    sentence: str = ""

    def for_robot(self, robot: str) -> str:
        """Return the version that a robot is to run."""
        if self.done == "promoted" or (not self.done and robot == self.canary):
            return self.version
        return self.previous

    @property
    def standing(self) -> str:
        """The version that a robot runs which tries nothing."""
        return self.version if self.done == "promoted" else self.previous


Decide = Callable[[Deployment, Tally, Tally, str], tuple[bool, str] | None]
"""Given a deployment that is tried, what robots did in the canary's scene with the policy before it, what the canary did with
the new one, and the id of the policy before: whether all shall have it, and why; None while it is too early
(`soar.evaluation.canary`)."""


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _is_version(folder: Path, version: str) -> bool:
    """Whether what is in a folder is a policy of that version, whole."""
    if not folder.is_dir():
        return False
    try:
        return manifest_of(policy_in(folder)).version == version
    except (ConfigError, OSError):  # files are missing, or cannot be read
        return False


def policy_in(folder: Path) -> Path:
    """Return what names the policy in a folder: its one ONNX file, or the folder."""
    files = list(folder.iterdir())
    return files[0] if len(files) == 1 and files[0].suffix == ".onnx" else folder
