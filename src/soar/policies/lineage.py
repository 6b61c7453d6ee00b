"""Where a policy comes from: its parent, the data that it saw, the code that made it, and how good it was."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMED = "soar-named-policy"
"""Kind of a folder that names a policy instead of holding one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Everything that traces a policy back to its data.

    Attributes:
        parent: Id of the policy whose weights training began with; empty for a fresh network.
        data: Versions of the episode store's tables, by name of the source.
        revision: Git revision of the code, see `git_revision`.
        metrics: Of the training run.
    """

    parent: str = ""
    data: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    revision: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)


def policy_id(description: Mapping[str, Any]) -> str:
    """Return the id of the policy that a `config.json` describes: its kind, and a hash of all that it says.

    A folder that names a policy of somebody else's (`soar.policies.named`) says the id itself.
    """
    if description["kind"] == NAMED:
        return str(description["id"])
    identity = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()
    return f"{str(description['kind']).removeprefix('soar-').removesuffix('-policy')}-{identity[:8]}"


def git_revision() -> str:
    """Return the git revision of this code, with `+` when files differ from it; empty when it is not a git checkout."""
    folder = Path(__file__).parent
    command = ["git", "-C", str(folder), "describe", "--always", "--exclude=*", "--dirty=+", "--abbrev=12"]
    try:
        # This file must be tracked: an installed package inside somebody else's repository has no revision of its own.
        subprocess.run(
            ["git", "-C", str(folder), "ls-files", "--error-unmatch", __file__], capture_output=True, check=True, timeout=10
        )
        done = subprocess.run(
            command, capture_output=True, text=True, encoding="utf-8", errors="replace", check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
