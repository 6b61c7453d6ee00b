"""The card of a policy on the Hugging Face Hub: what it is, where it comes from, what nobody has measured."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from soar.errors import CheckpointError
from soar.policies.lineage import policy_id
from soar.untrusted import parse_json

FILES = ("config.json", "model.safetensors", "lineage.json")
"""What makes a policy; nothing else of its folder is published."""
_CONDITIONED = {
    "goal": "it reaches the image of a goal",
    "language": "it follows instructions",
    "both": "it reaches the image of a goal, follows an instruction, or both",
}
_CARD = """---
license: {license}
library_name: soar-robot
tags:
- robotics
- imitation-learning
---
# {name}

A policy for SOAR (autonomous improvement, Zhou et al. 2024): {conditioned}, {size} px in, delta end-effector actions out.
Id `{id}`.

- **Parent**: {parent}
- **Learned from**: {data}
- **Made by** revision {revision}
- **While training**: {metrics}
- **Measured**: nothing is said here; evaluate it (`soar evaluate --policy …`), and write the rate with its trials and interval.
- **Limits**: not written down yet.
"""


def publishable(policy: Path, aside: Path, *, name: str, license: str) -> Path:
    """Copy what makes a policy into an empty folder, and write its card where it has none; returns that folder.

    Raises:
        CheckpointError: The folder holds no policy.
    """
    missing = [file for file in FILES if not (policy / file).is_file()]
    if missing:
        raise CheckpointError(
            f"{policy} holds no policy: {', '.join(missing)} missing. Name the folder of one, such as runs/mine/policies/001"
        )
    for file in FILES:
        shutil.copyfile(policy / file, aside / file)
    if (policy / "README.md").is_file():
        shutil.copyfile(policy / "README.md", aside / "README.md")
    else:
        (aside / "README.md").write_text(card(policy, name=name, license=license), encoding="utf-8")
    return aside


def card(policy: Path, *, name: str, license: str) -> str:
    """Return the card of a policy from what its folder says.

    Raises:
        CheckpointError: The folder's files are damaged.
    """
    try:
        config: dict[str, Any] = parse_json((policy / "config.json").read_text(encoding="utf-8"))
        lineage: dict[str, Any] = parse_json((policy / "lineage.json").read_text(encoding="utf-8"))
        network = config["network"]
        sources = [
            f"{source} (version {'.'.join(map(str, versions.values()))})" for source, versions in lineage["data"].items()
        ]
        metrics = [f"{key} {value:.3g}" for key, value in lineage.get("metrics", {}).items() if key.startswith("validation/")]
        return _CARD.format(
            license=license,
            name=name,
            conditioned=_CONDITIONED[network["conditioning"]],
            size=network["image_size"],
            id=policy_id(config),
            parent=lineage.get("parent") or "none, a fresh network",
            data=", ".join(sources) or "unknown",
            revision=lineage.get("revision") or "unknown",
            metrics=", ".join(metrics) or "unknown",
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{policy}: config.json or lineage.json is damaged ({error}); train or fetch the policy again"
        ) from error
