"""Commands about subgoal models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True, kw_only=True)
class Subgoal:
    """Let a subgoal model imagine what the next moments of doing something would look like: image left, subgoals right.

    Example: soar subgoal preview table.jpg "put the carrot on the plate" --subgoals susie --out imagined.png
    """

    action: Annotated[Literal["preview"], tyro.conf.Positional]
    """What to do with the model."""
    image: Annotated[Path, tyro.conf.Positional]
    """A picture."""
    instruction: Annotated[str, tyro.conf.Positional]
    """What the robot shall do."""
    out: Path
    """The picture that is written."""
    subgoals: str | None = None
    """Folder of a subgoal model, or YAML file of one; the one that comes with SOAR by default."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One subgoal for each."""

    def run(self) -> None:
        """Run it."""
        import numpy as np

        from soar.base_models import default_weights
        from soar.cli.pictures import read_picture, write_picture
        from soar.cli.tables import say
        from soar.subgoals.loading import load_subgoal_model

        image = read_picture(self.image)
        model = load_subgoal_model(self.subgoals or str(default_weights("subgoal")))
        count = len(self.seeds)
        goals = model.generate([image] * count, [self.instruction] * count, self.seeds)
        write_picture(self.out, np.concatenate([image, *goals], axis=1))
        say(f"{count} subgoals of {model.id} in {self.out}")


@dataclass(frozen=True, kw_only=True)
class ImportSusie:
    """Convert SuSIE's published weights (Flax, msgpack) into a folder that SOAR and diffusers load. Needs no JAX.

    Example: soar import-susie susie/unet/diffusion_flax_model.msgpack --base stable-diffusion-v1-5/stable-diffusion-v1-5
    --out susie-torch
    """

    source: Annotated[Path, tyro.conf.Positional]
    """The msgpack of the UNet."""
    base: str
    """Folder or hub name of Stable Diffusion 1.5, for the VAE, text encoder and tokenizer."""
    out: Path
    """The new folder."""
    unet_config: Path | None = None
    """JSON of the UNet's configuration; SuSIE's by default."""

    def run(self) -> None:
        """Run it."""
        from soar.cli.tables import say
        from soar.subgoals.susie import import_susie

        count = import_susie(self.source, self.base, self.out, self.unet_config)
        say(f"{count:,} parameters in {self.out}; look at what it imagines with `soar subgoal preview --subgoals {self.out}`")
