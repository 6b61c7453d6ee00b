"""A policy's folder that holds no network, but names a policy of somebody else's: behind a server, of a module, an ONNX file.

    folder/config.json    {"kind": "soar-named-policy", "schema_version", "id", "behind", "name", …}
    folder/lineage.json   where it comes from, see `soar.policies.lineage`
    folder/policy.yaml    the policy file that `name` means, where it has one of its own

`id` is what provenance records. `behind` is the id of what was found under the name when the folder was written: a server may
serve other weights a day later, and then its episodes would be told to be of a policy that did not make them. So another id
there is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soar.configuration import read_yaml
from soar.errors import CheckpointError
from soar.files import write_json
from soar.policies.base import Conditioning, Instructed, Policy, cameras_of
from soar.policies.lineage import NAMED, Lineage, policy_id
from soar.references import is_reference
from soar.types import Goal, Observation
from soar.untrusted import parse_json
from soar.words import unknown_to

SCHEMA_VERSION = 1
OWN_FILE = "policy.yaml"
_ASKED = ("remote", "openpi")
"""Backends of a policy file that run nothing here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What such a folder says.

    Attributes:
        id: Of the policy, for provenance.
        behind: Id of what is opened under the name.
        name: As `soar.policies.loading` takes it, or a file of this folder.
        folder: Where that stands.
        more: What whoever wrote it wants to know later.
    """

    id: str
    behind: str
    name: str
    folder: Path
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def target(self) -> str:
        """What is to be opened."""
        own = self.folder / self.name
        return str(own) if self.name == OWN_FILE or own.exists() else self.name


def write_named(named: Named, lineage: Lineage) -> None:
    """Write the folder; config.json last, so that one that was cut off is not taken for a policy.

    Raises:
        SoarError: It cannot be written.
    """
    write_json(named.folder / "lineage.json", asdict(lineage))
    said = {"id": named.id, "behind": named.behind, "name": named.name, "more": dict(named.more)}
    write_json(named.folder / "config.json", {"kind": NAMED, "schema_version": SCHEMA_VERSION, **said})


def read_named(folder: Path) -> Named | None:
    """Return what a folder names; None when it is another kind of folder, or none.

    Raises:
        CheckpointError: It is damaged, or of another version.
    """
    path = folder / "config.json"
    try:
        said = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # whoever opens the folder says what is wrong with it
    if not isinstance(said, dict) or said.get("kind") != NAMED:
        return None
    if said.get("schema_version") != SCHEMA_VERSION:
        raise CheckpointError(
            f"{path}: schema_version {said.get('schema_version')}, this SOAR reads {SCHEMA_VERSION}. Update SOAR."
        )
    id, behind, name = (said.get(key) if isinstance(said.get(key), str) else "" for key in ("id", "behind", "name"))
    more = said.get("more", {})
    if not (id and behind and name and isinstance(more, dict)):
        raise CheckpointError(f"{path} is damaged: it names no policy. Restore the file.")
    return Named(id=id, behind=behind, name=name, folder=folder, more=more)


def chain_from(folder: Path) -> Iterator[Named]:
    """Yield what a folder names, what that names if it is such a folder, too, and so on.

    Raises:
        CheckpointError: One is damaged, or they name each other in a circle.
    """
    seen: set[Path] = set()
    while (named := read_named(folder)) is not None:
        if folder.resolve() in seen:
            raise CheckpointError(f"{folder} names itself, by way of {len(seen)} folder(s): name a policy in its config.json")
        seen.add(folder.resolve())
        yield named
        folder = Path(named.target)


def id_in(folder: Path) -> str:
    """Return the id of the policy in a folder, or that it names; nothing is opened.

    Raises:
        CheckpointError: There is none, or its description is damaged.
    """
    path = folder / "config.json"
    try:
        return policy_id(parse_json(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} describes no policy: {error!r}. Restore the file, or train or fetch the policy again"
        ) from error


def check_place(named: Named) -> None:
    """Refuse a folder from elsewhere that names something which is run.

    A class of a module and a server's command can do anything. A candidate in a run's folder was made here, by what the user
    asked for; one that was downloaded may be a trap.

    Raises:
        CheckpointError: It would run something, and lies in no run; the message shows what.
    """
    place = named.folder.resolve().parent
    if place.name == "policies" and (place.parent / "config.yaml").is_file():
        return
    backend = named.name
    if Path(named.target).suffix in (".yaml", ".yml"):
        backend = str(read_yaml(Path(named.target)).get("backend"))
        backend = "" if backend in _ASKED else f"backend: {backend}"
    elif not is_reference(backend):
        backend = ""
    if runs := str(named.more.get("serve") or backend):
        raise CheckpointError(
            f"{named.folder} names what would be run for it ({runs[:200]}), and lies in no run: nothing of it was run. "
            "If you trust it, serve or import it yourself, and name that (docs/how-to/your-policy.md)"
        )


class NamedPolicy:
    """The policy that a folder names, under the id that the folder says.

    Args:
        policy: What was opened under the name.
        named: What the folder says.

    Raises:
        CheckpointError: Another policy is there now.
    """

    def __init__(self, policy: Policy, named: Named) -> None:
        if policy.id != named.behind:
            raise CheckpointError(
                f"{named.folder}: {named.target} is {policy.id} now, and was {named.behind} when this folder was written. "
                "Serve what was served then, or begin a new run with it."
            )
        self._policy, self.id = policy, named.id

    @property
    def conditioning(self) -> Conditioning:
        """The policy's."""
        return self._policy.conditioning

    @property
    def action_std(self) -> NDArray[np.float32]:
        """The policy's."""
        return self._policy.action_std

    @property
    def image_size(self) -> int | None:
        """The policy's."""
        return self._policy.image_size

    @property
    def cameras(self) -> Sequence[str]:
        """The policy's."""
        return cameras_of(self._policy)

    def act(self, observations: Sequence[Observation], goals: Sequence[Goal]) -> NDArray[np.float32]:
        """Return the policy's actions (B, 7)."""
        return self._policy.act(observations, goals)

    def reset(self) -> None:
        """Forget the last episode."""
        self._policy.reset()

    def unknown_words(self, text: str) -> Sequence[str] | None:
        """Return what the policy does not know of an instruction."""
        return unknown_to(self._policy, text)

    def instruct(self, instruction: str) -> None:
        """Pass on what the coming episode is about, to a policy that wants to know."""
        if isinstance(self._policy, Instructed):
            self._policy.instruct(instruction)
