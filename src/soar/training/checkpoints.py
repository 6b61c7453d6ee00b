"""Checkpoints of a training run: everything that the next step depends on, and nothing that runs code when it is read.

A checkpoint is a folder named by its step. It is written aside under a name that no reader looks at, fsynced and renamed, so
that a folder with a number for a name is always whole.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from soar.configuration import differences
from soar.errors import CheckpointError, ConfigError, SoarError
from soar.files import write_json
from soar.untrusted import parse_json

SCHEMA_VERSION = 1


class Ema:
    """Exponential moving average of a model's weights; its decay ramps up so that the initial weights are soon forgotten."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}

    def update(self, model: nn.Module, step: int) -> None:
        """Move towards the model's weights after `step` steps."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                self.weights[name].lerp_(value, 1 - decay)
            else:
                self.weights[name].copy_(value)

    def copy_to(self, model: nn.Module) -> None:
        """Give the averaged weights to the model."""
        model.load_state_dict(self.weights)


@dataclass(slots=True, kw_only=True)
class TrainingState:
    """What the next step depends on, besides the configuration. `step` is the number of steps that are done."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    ema: Ema | None
    step: int = 0

    @contextmanager
    def averaged(self) -> Iterator[nn.Module]:
        """Yield the model as it would be used: in evaluation mode, with the averaged weights if there are any."""
        raw = None
        if self.ema is not None:
            raw = {name: value.clone() for name, value in self.model.state_dict().items()}
            self.ema.copy_to(self.model)
        self.model.eval()
        try:
            yield self.model
        finally:
            if raw is not None:
                self.model.load_state_dict(raw)
            self.model.train()


def claim(path: Path, configuration: Mapping[str, Any], defaults: Mapping[str, Any], *, ignoring: Collection[str] = ()) -> None:
    """Write the configuration of a run to a JSON file, or refuse a folder that was begun with another one.

    A field that the file lacks, because it was written before the field existed, counts as its default. Fields in `ignoring`,
    dotted names, play no role in this run and may differ.

    Raises:
        ConfigError: The file holds another configuration; the message names the fields.
        CheckpointError: The file is damaged or something else.
    """
    mine = json.loads(json.dumps(configuration))  # As it reads back: tuples are lists.
    if not path.exists():
        write_json(path, mine)
        return
    try:
        theirs = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}). Train in another folder.") from error
    if not isinstance(theirs, dict):
        raise CheckpointError(f"{path} is not the configuration of a training run. Train in another folder.")
    fields = differences(theirs, mine, defaults=json.loads(json.dumps(defaults)), ignoring=ignoring)
    if fields:
        raise ConfigError(
            f"{path.parent} holds a training run with another configuration: {', '.join(fields)}. "
            "Restore it to resume that run, or train in another folder."
        )


def _saved_steps(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit()) if folder.is_dir() else []


def _tensors(state: TrainingState) -> dict[str, Tensor]:
    tensors = {f"model.{name}": value for name, value in state.model.state_dict().items()}
    for name, parameter in state.model.named_parameters():
        for key, value in state.optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer.{key}.{name}"] = value
    if state.ema is not None:
        tensors |= {f"ema.{name}": value for name, value in state.ema.weights.items()}
    # Tied weights share storage, which safetensors refuses; a copy has its own.
    return {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}


def save(
    state: TrainingState,
    folder: Path,
    metrics: dict[str, float],
    *,
    kept: int,
    export: Callable[[nn.Module, Path], None] | None = None,
) -> None:
    """Write the checkpoint of the current step to `folder`/STEP and remove all but the last ones.

    Args:
        state: What is written.
        folder: Of all checkpoints of the run.
        metrics: Written with it.
        kept: How many remain.
        export: Writes the (averaged) model to the checkpoint's folder once more, in the form in which it is used.

    Raises:
        SoarError: The folder is read-only or the disk is full; earlier checkpoints are as they were.
    """
    final, aside = folder / str(state.step), folder / f".{state.step}.partial"
    if final.exists():
        return
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        try:
            save_file(_tensors(state), aside / "state.safetensors")
        except SafetensorError as error:
            raise OSError(str(error)) from error
        if export is not None:
            with state.averaged() as model:
                export(model, aside)
        description = {"schema_version": SCHEMA_VERSION, "step": state.step, "metrics": metrics}
        (aside / "state.json").write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
        for path in aside.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        aside.rename(final)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise SoarError(
            f"cannot write the checkpoint {final}: {error.strerror or error}. Free some space or choose a folder that you may "
            "write to, then run the same command again: it resumes from the checkpoint before."
        ) from error
    for step in _saved_steps(folder)[:-kept]:
        shutil.rmtree(folder / str(step), ignore_errors=True)


def restore(state: TrainingState, folder: Path) -> dict[str, float]:
    """Load the last checkpoint under `folder` into `state`, if there is one, and return its metrics.

    Raises:
        CheckpointError: It is damaged, of another schema version, or of another model.
    """
    steps = _saved_steps(folder)
    if not steps:
        return {}
    path = folder / str(steps[-1])
    try:
        description = parse_json((path / "state.json").read_text(encoding="utf-8"))
        tensors = load_file(path / "state.safetensors")
        version, step = description["schema_version"], int(description["step"])
        metrics = {str(name): float(value) for name, value in description["metrics"].items()}
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise CheckpointError(
            f"the checkpoint {path} is damaged ({error}). Remove it to resume from the one before."
        ) from error
    if version != SCHEMA_VERSION:
        raise CheckpointError(f"{path}: schema version {version}, this SOAR reads {SCHEMA_VERSION}. Train in another folder.")
    try:
        state.model.load_state_dict(_under("model.", tensors))
        if state.ema is not None:
            average = _under("ema.", tensors)
            for name, value in state.ema.weights.items():
                value.copy_(average[name])
        _restore_optimizer(state, tensors)
    except (RuntimeError, KeyError) as error:
        raise CheckpointError(f"the checkpoint {path} is not of this model: {error}. Train in another folder.") from error
    state.step = step
    return metrics


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _restore_optimizer(state: TrainingState, tensors: dict[str, Tensor]) -> None:
    moments = _under("optimizer.", tensors)
    for name, parameter in state.model.named_parameters():
        for key in ("step", "exp_avg", "exp_avg_sq"):
            value = moments.get(f"{key}.{name}")
            if value is None:
                continue  # A parameter that never had a gradient has no moments.
            if key != "step":
                # In the memory order of the parameter: another one could round differently.
                value = torch.empty_like(parameter, memory_format=torch.preserve_format).copy_(value)
            else:
                value = value.to(parameter.device)
            state.optimizer.state[parameter][key] = value.detach()
