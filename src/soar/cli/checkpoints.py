"""Commands that turn checkpoints of other formats into policies, and policies into files for a robot's computer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True, kw_only=True)
class ImportCheckpoint:
    """Turn a released JAX checkpoint of a goal-conditioned policy into a policy of SOAR; no JAX is needed.

    Example: soar import-checkpoint downloads/gcbc-bridge --out policies/bridge
    """

    source: Annotated[Path, tyro.conf.Positional]
    """The msgpack file, or the folder that holds it as `checkpoint`."""
    out: Path
    """Folder of the policy; must not hold one."""
    actions: str = "bridge"
    """Name under configs/actions of the statistics of its training data, or path of a YAML file: a checkpoint has none."""
    image_size: int = 256
    """Of the images that it was trained on [px]."""

    def run(self) -> None:
        """Run it."""
        from soar.cli.tables import say
        from soar.policies.released import import_checkpoint

        policy = import_checkpoint(self.source, self.out, actions=self.actions, image_size=self.image_size)
        config = policy.network.config
        say(
            f"{policy.id}: {config.encoder.name} of width {config.encoder.width}, actions normalised as {self.actions}, "
            f"images of {config.image_size} px, in {self.out}"
        )


@dataclass(frozen=True, kw_only=True)
class ExportPolicy:
    """Write a policy as one ONNX file, which a robot's computer runs with onnxruntime and without torch.

    What onnxruntime computes is compared with torch before the file is written.

    Example: soar export-policy policies/mine --out mine.onnx
    """

    policy: Annotated[Path, tyro.conf.Positional]
    """Folder of the policy, or of a training checkpoint of one."""
    out: Path
    """The file; ends in .onnx."""

    def run(self) -> None:
        """Run it."""
        from soar.cli.tables import say
        from soar.policies.learned import LearnedPolicy
        from soar.policies.onnx_export import export_policy

        policy = LearnedPolicy.load(self.policy)
        difference = export_policy(policy, self.out)
        say(f"{policy.id} is in {self.out}; its actions differ by {difference:.1g} from torch's, in normalised units")
