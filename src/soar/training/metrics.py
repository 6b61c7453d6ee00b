"""The metrics of a training run: metrics.jsonl for programs, TensorBoard for people. After a resume no step is listed twice."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from soar.errors import SoarError
from soar.files import write_text
from soar.untrusted import parse_json

SPEED = ("steps_per_s", "samples_per_s", "loader_wait")
"""Metrics that say how fast it went, not how well: the last is the share of the time that was spent waiting for batches."""


class MetricsLog:
    """Means of metrics since the last line, written to metrics.jsonl and TensorBoard.

    Args:
        folder: Where both are.
        step: Lines of later steps are forgotten.
        writes: Whether anything is written; False in all processes but one.
        track: Gets every line that is written, too.
    """

    def __init__(
        self, folder: Path, step: int, *, writes: bool = True, track: Callable[[int, dict[str, float]], None] | None = None
    ) -> None:
        self.path = folder / "metrics.jsonl"
        self.sums: dict[str, Tensor] = {}
        self.losses: list[Tensor] = []
        self.norms: list[Tensor] = []
        self.track = track
        self.waited_s, self.since_s = 0.0, time.monotonic()
        self.writer: SummaryWriter | None = None
        if not writes:
            return
        if self.path.exists():
            # Lines of steps after the checkpoint will be written again; a line cut by a kill is not JSON.
            lines = [line for line in self.path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
            write_text(self.path, "".join(line + "\n" for line in lines if parse_json(line)["step"] <= step))
        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def add(self, values: dict[str, Tensor], waited_s: float) -> None:
        """Add the scalars of one step, `loss` and `gradient_norm` among them, and how long it had to wait for its batch."""
        for name, value in values.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.losses.append(values["loss"])
        self.norms.append(values["gradient_norm"])
        self.waited_s += waited_s

    def flush(self, step: int, rate: float, batch_size: int, describe: Callable[[int], str]) -> dict[str, float]:
        """Write and return the means since the last flush; `describe` says what the batch of a step was made of.

        Raises:
            SoarError: The loss or its gradient is not finite any more.
        """
        count = len(self.losses)
        if not count:
            return {}
        means = {name: float(value) / count for name, value in self.sums.items()}
        # A gradient that is not finite spoils the weights: the next loss would be the first to show it.
        if not (math.isfinite(means["loss"]) and math.isfinite(means["gradient_norm"])):
            pairs = [(float(loss), float(norm)) for loss, norm in zip(self.losses, self.norms, strict=True)]
            first = next(index for index, pair in enumerate(pairs) if not all(map(math.isfinite, pair)))
            loss, norm = pairs[first]
            what = f"the norm of the gradient is {norm}" if math.isfinite(loss) else f"the training loss is {loss}"
            bad = step - count + first
            raise SoarError(
                f"{what} at step {bad + 1}{describe(bad)}. Lower fit.learning_rate "
                "or fit.clip_norm, or leave out what is broken, and train in another folder; the last good checkpoint is in "
                f"{self.path.parent / 'checkpoints'}."
            )
        elapsed_s = max(time.monotonic() - self.since_s, 1e-9)
        speed = {"steps_per_s": count / elapsed_s, "samples_per_s": count * batch_size / elapsed_s}
        speed["loader_wait"] = self.waited_s / elapsed_s
        self.write(step, {**means, "learning_rate": rate, **speed})
        self.sums, self.losses, self.norms, self.waited_s, self.since_s = {}, [], [], 0.0, time.monotonic()
        return {**means, **speed}

    def write(self, step: int, values: dict[str, float]) -> None:
        """Write the values of one step.

        Raises:
            SoarError: The folder is read-only or the disk is full.
        """
        if self.writer is None:
            return
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")
        except OSError as error:
            raise SoarError(
                f"cannot write {self.path}: {error.strerror or error}. Free some space or choose a folder that you may write "
                "to, then run the same command again: it resumes from the last checkpoint."
            ) from error
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        if self.track is not None:
            self.track(step, values)

    def close(self) -> None:
        """Flush what TensorBoard has not written yet."""
        if self.writer is not None:
            self.writer.close()
