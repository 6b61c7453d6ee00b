"""Commands that publish policies on the Hugging Face Hub and fetch them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True, kw_only=True)
class Push:
    """Publish a policy on the Hugging Face Hub, with a card that says where it comes from.

    What travels is what makes the policy: config.json, model.safetensors, lineage.json, and the card README.md. Where there
    is none, one is written from what is known. HF_TOKEN or `hf auth login` says who you are, HF_ENDPOINT names another server.

    Example: soar policy push runs/scene1/policies/001 me/my_policy
    """

    source: Annotated[Path, tyro.conf.Positional]
    """Folder of the policy."""
    repo: Annotated[str, tyro.conf.Positional]
    """OWNER/NAME on the Hub; it is made when it is missing. What it holds is replaced, and stays in its history."""
    license: str = "apache-2.0"
    """For the card."""
    private: bool = False
    """Only you may see it; for a repository that is made now."""
    tag: str | None = None
    """Name for this version; moved when it exists."""

    def run(self) -> None:
        """Run it."""
        from tempfile import TemporaryDirectory

        from soar.cli.tables import say
        from soar.formats.hub import push
        from soar.policies.card import publishable

        with TemporaryDirectory(prefix="soar-push-") as aside:
            folder = publishable(self.source, Path(aside), name=self.repo.rpartition("/")[2], license=self.license)
            done = push(folder, self.repo, kind="model", private=self.private, message="Policy", tag=self.tag)
        say(f"pushed: {done}")


@dataclass(frozen=True, kw_only=True)
class Pull:
    """Fetch a policy from the Hugging Face Hub, verify every file, and load it once.

    The same command goes on where a stopped one was. Nothing in the files is executed.

    Example: soar policy pull me/my_policy --out policies/mine
    """

    repo: Annotated[str, tyro.conf.Positional]
    """OWNER/NAME on the Hub."""
    out: Path
    """Folder that gets the policy."""
    revision: str | None = None
    """Branch, tag or commit; the newest state by default."""

    def run(self) -> None:
        """Run it."""
        from soar.cli.tables import say
        from soar.errors import HubError
        from soar.formats.hub import pull
        from soar.policies.learned import LearnedPolicy
        from soar.policies.named import read_named

        commit = pull(self.repo, self.out, kind="model", revision=self.revision)
        if read_named(self.out) is not None:
            raise HubError(
                f"{self.repo} holds no network: its config.json names a policy of somebody else's, and what is run for it. "
                f"Nothing of it was run; do not use {self.out}"
            )
        policy = LearnedPolicy.load(self.out)
        say(f"{self.out}: policy {policy.id}, commit {commit}")
