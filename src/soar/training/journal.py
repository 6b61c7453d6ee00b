"""The metrics of a training run: metrics.jsonl for programs, TensorBoard for people. After a resume no step is listed twice."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from soar.errors import SoarError
from soar.files import write_text


class Journal:
    """Means of metrics since the last line, written to metrics.jsonl and TensorBoard."""

    def __init__(self, folder: Path, step: int) -> None:
        self.path = folder / "metrics.jsonl"
        if self.path.exists():
            # Lines of steps after the checkpoint will be written again; a line cut by a kill is not JSON.
            lines = [line for line in self.path.read_text().splitlines() if line.endswith("}")]
            write_text(self.path, "".join(line + "\n" for line in lines if json.loads(line)["step"] <= step))
        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        self.sums: dict[str, Tensor] = {}
        self.count, self.since_s = 0, time.monotonic()

    def add(self, values: dict[str, Tensor]) -> None:
        """Add the scalars of one step."""
        for name, value in values.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.count += 1

    def flush(self, step: int, rate: float) -> dict[str, float]:
        """Write and return the means since the last flush.

        Raises:
            SoarError: The loss is not finite any more.
        """
        if not self.count:
            return {}
        means = {name: float(value) / self.count for name, value in self.sums.items()}
        if not math.isfinite(means["loss"]):
            raise SoarError(
                f"the training loss is {means['loss']} at step {step}. Lower fit.learning_rate or fit.clip_norm and train in "
                f"another folder; the last good checkpoint is in {self.path.parent / 'checkpoints'}."
            )
        elapsed_s = time.monotonic() - self.since_s
        self.write(step, {**means, "learning_rate": rate, "steps_per_s": self.count / max(elapsed_s, 1e-9)})
        self.sums, self.count, self.since_s = {}, 0, time.monotonic()
        return means

    def write(self, step: int, values: dict[str, float]) -> None:
        """Write the values of one step.

        Raises:
            SoarError: The folder is read-only or the disk is full.
        """
        try:
            with self.path.open("a") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")
        except OSError as error:
            raise SoarError(
                f"cannot write {self.path}: {error.strerror or error}. Free some space or choose a folder that you may write "
                "to, then run the same command again: it resumes from the last checkpoint."
            ) from error
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush what TensorBoard has not written yet."""
        self.writer.close()
