"""`soar train subgoal`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from soar.cli.flags import Switch, changed, on


@dataclass(frozen=True, kw_only=True)
class TrainSubgoal:
    """Train a subgoal model: fine-tune an InstructPix2Pix-style checkpoint on a store, or train a small one from nothing.

    OUT becomes a folder for `--subgoals`. OUT/samples.png shows held-out observations, true goals and what it imagines. On
    several GPUs: torchrun --nproc-per-node 8 -m soar.cli train subgoal …

    Example: soar train subgoal --base susie-torch --store runs/mine/episodes --where success --out susie-mine --device cuda
    """

    out: Path
    """Folder of the new model; the same command continues what was interrupted."""
    store: Path
    """Folder of a store of episodes."""
    where: str = ""
    """SQL that selects some of them, for example "success": a failed attempt shows what should not be imagined."""
    camera: str = "main"
    """Whose pictures it learns to imagine: the main camera's, or those of a further one by name."""
    base: str | None = None
    """Folder or hub name of the checkpoint to fine-tune; by default a small model with random weights."""
    horizon: int | None = None
    """Steps from the picture to its subgoal; 20 by default."""
    image_size: int | None = None
    """Side of the model's pictures [px]; 256 with --base, else 64."""
    dropout: float | None = None
    """Share of samples without text, as many without image, and as many without both; 0.05 by default."""
    steps: int | None = None
    """Gradient steps; 40,000 with --base, else 10,000."""
    autoencoder_steps: int | None = None
    """Gradient steps of the small model's autoencoder before; 2,000 by default."""
    batch_size: int | None = None
    """Samples a step; 128 with --base, else 64."""
    learning_rate: float | None = None
    """Peak learning rate; 1e-4 with --base, else 5e-4."""
    ema: float | None = None
    """Decay of the average of the weights; 0.999 by default."""
    accumulate: int | None = None
    """Parts of a batch that are worked off one after another, to save memory."""
    gradient_checkpointing: bool = False
    """Compute activations twice instead of keeping them: slower, in much less memory."""
    bf16: Switch | None = None
    """Compute in bfloat16; on by default."""
    checkpoint_every: int | None = None
    """Steps between checkpoints, each with a look at held-out episodes; 1,000 by default."""
    held_out: float | None = None
    """Share of the episodes that is kept for that; 0.05 by default."""
    validation_pairs: int | None = None
    """Held-out pictures that are imagined then; 32 by default."""
    guidance: float | None = None
    """Weight of the text when subgoals are sampled; 7.5 with --base, else 2.5."""
    image_guidance: float | None = None
    """Weight of the image when subgoals are sampled; 2.0 with --base, else 1.5."""
    sampler: Literal["ddim", "dpm", "unipc", "euler"] | None = None
    """How they are sampled; ddim with --base, else dpm."""
    sampling_steps: int | None = None
    """In how many steps; 50 with --base, else 10."""
    seed: int = 0
    """Of everything random."""
    device: str = "cpu"
    """Of torch."""

    def run(self) -> None:
        """Run it."""
        import importlib.util

        from soar.cli.progress import progress_bars
        from soar.cli.tables import say
        from soar.errors import ConfigError
        from soar.policies.lineage import git_revision
        from soar.training.distributed import joined

        if importlib.util.find_spec("diffusers") is None:
            raise ConfigError("soar train subgoal needs diffusers. Install it: pip install 'soar-robot[foundation]'")
        from soar.training.diffusion_subgoals import fine_tuning, from_nothing, train_diffusion_subgoals

        recipe = from_nothing() if self.base is None else fine_tuning(self.base)
        shared = {
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "ema": self.ema,
            "accumulate": self.accumulate,
            "checkpoint_every": self.checkpoint_every,
            "bf16": on(self.bf16),
            "seed": self.seed,
        }
        config = changed(
            recipe,
            fit=changed(recipe.fit, steps=self.steps, **shared),
            autoencoder=changed(recipe.autoencoder, steps=self.autoencoder_steps, **shared | {"learning_rate": None}),
            horizon=self.horizon,
            dropout=self.dropout,
            held_out=self.held_out,
            validation_pairs=self.validation_pairs,
            gradient_checkpointing=self.gradient_checkpointing,
            sampling=changed(
                recipe.sampling,
                guidance=self.guidance,
                image_guidance=self.image_guidance,
                sampler=self.sampler,
                steps=self.sampling_steps,
                image_size=self.image_size,
            ),
        )
        with joined(self.device) as (group, device), progress_bars() as report:

            def on_step(phase: str, done: int, total: int, metrics: dict[str, float]) -> None:
                if group.leads:
                    report(phase, done, total, f"loss {metrics['loss']:.4f}" if "loss" in metrics else "")

            metrics = train_diffusion_subgoals(
                config,
                self.store,
                self.out,
                where=self.where,
                camera=self.camera,
                lineage={"revision": git_revision()},
                device=device,
                on_step=on_step,
            )
            if not group.leads:
                return
        say(
            f"held-out error {metrics['validation/changed_error']:.3f} where something changes (a copy of the picture has 1), "
            f"{metrics['validation/unchanged_error']:.1f} grey levels elsewhere; see {self.out / 'samples.png'}\n"
            f"use it with `--subgoals {self.out}`, look at it with `soar subgoal preview --subgoals {self.out} …`"
        )
