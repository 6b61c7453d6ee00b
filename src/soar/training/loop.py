"""One training loop for every model: same seed, same weights, whether or not it was interrupted.

The batch of step s, and every random number that the loss draws, are functions of (seed, s) alone. The state after step s is
therefore a function of the state after step s - 1, and a run that is killed and started again continues from its last
checkpoint to the very same weights, bit for bit, on the same machine with the same number of threads.

    folder/fit.json              the configuration; another one in the same folder is refused
    folder/checkpoints/STEP/     model, optimiser and EMA (safetensors), state.json (JSON); the last few are kept
    folder/metrics.jsonl         one line each `log_every` steps
    folder/tensorboard/          the same for TensorBoard

Batches are prepared by background threads, a few steps ahead. They depend on the step only, so this changes nothing
but the speed; `batch_fn` must draw from the generator that it is given and from nothing else.

Parts. A batch can be cut into equal parts: `accumulate` of them one after another in each process, and each process of
`soar.training.distributed` its own. Part p of P holds the samples p, p + P, p + 2P, …; the gradient is the mean of the parts'.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from soar.errors import ConfigError
from soar.nn.devices import computes_bf16
from soar.prefetch import prefetched
from soar.run_claim import only_here
from soar.seeding import derive_seed, generator
from soar.training.checkpoints import Ema, TrainingState, claim, restore, save
from soar.training.distributed import Group, current_group
from soar.training.metrics import SPEED, MetricsLog
from soar.training.optimizer import adamw

log = logging.getLogger(__name__)
B = TypeVar("B")


@dataclass(frozen=True, slots=True, kw_only=True)
class FitConfig:
    """How a model is optimised: AdamW, linear warm-up, cosine decay to 0 (defaults: paper §B.2.2).

    Attributes:
        steps: Gradient steps of the whole run.
        batch_size: Samples a step, for the `batch_fn` of the caller.
        learning_rate: Peak learning rate, reached after `warmup_steps`.
        warmup_steps: Steps of linear warm-up from 0.
        weight_decay: Decoupled weight decay on all parameters.
        beta2: Second moment decay of Adam (the first is 0.9).
        clip_norm: Largest global norm of the gradient.
        ema: Decay of the moving average of the weights that validation and the finished model use; None for none.
        seed: Of every draw.
        checkpoint_every: Steps between checkpoints (and validations).
        checkpoints_kept: How many of them remain.
        log_every: Steps between lines of metrics.
        bf16: Run the forward pass in bfloat16 autocast, on a device that computes it.
        channels_last: Keep 4-D weights in channels-last memory order, which is faster for small convolutions.
        accumulate: Parts of a batch that a process works off one after another; more take less memory.
    """

    steps: int
    batch_size: int = 256
    learning_rate: float = 3e-4
    warmup_steps: int = 2000
    weight_decay: float = 1e-3
    beta2: float = 0.98
    clip_norm: float = 1.0
    ema: float | None = None
    seed: int = 0
    checkpoint_every: int = 1000
    checkpoints_kept: int = 2
    log_every: int = 50
    bf16: bool = False
    channels_last: bool = False
    accumulate: int = 1

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "checkpoint_every", "checkpoints_kept", "log_every", "accumulate"):
            if getattr(self, name) < 1:
                raise ConfigError(f"fit.{name} must be at least 1, got {getattr(self, name)}")
        for name in ("learning_rate", "clip_norm"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"fit.{name} must be positive, got {getattr(self, name)}")
        for name in ("warmup_steps", "weight_decay", "seed"):
            if getattr(self, name) < 0:
                raise ConfigError(f"fit.{name} must not be negative, got {getattr(self, name)}")
        if not 0 < self.beta2 < 1:
            raise ConfigError(f"fit.beta2 must lie between 0 and 1, got {self.beta2}")
        if self.ema is not None and not 0 < self.ema < 1:
            raise ConfigError(f"fit.ema must lie between 0 and 1, or be null for no average, got {self.ema}")


def learning_rate(config: FitConfig, step: int) -> float:
    """Return the learning rate of step 0 … steps - 1: linear warm-up, then cosine to 0."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def check_parts(config: FitConfig, *, cuttable: bool) -> None:
    """Refuse batches that cannot be cut into the parts that are asked for.

    Raises:
        ConfigError: The batch size is no multiple of the parts, or the model's batches cannot be cut at all.
    """
    processes = current_group().size
    parts = config.accumulate * processes
    if config.batch_size % parts or (parts > 1 and not cuttable):
        raise ConfigError(
            f"fit.batch_size: {config.batch_size} samples cannot be cut into {parts} parts (fit.accumulate "
            f"{config.accumulate} x {processes} processes)"
            + ("; choose a multiple." if cuttable else ": this model is trained whole.")
        )


def fit(
    model: nn.Module,
    batch_fn: Callable[[np.random.Generator], B],
    loss_fn: Callable[[nn.Module, B], dict[str, Tensor]],
    config: FitConfig,
    folder: Path,
    *,
    part_fn: Callable[[B, slice], B] | None = None,
    describe: Callable[[B], str] | None = None,
    validate: Callable[[nn.Module], dict[str, float]] | None = None,
    export: Callable[[nn.Module, Path], None] | None = None,
    track: Callable[[int, dict[str, float]], None] | None = None,
    on_step: Callable[[int, int, dict[str, float]], None] | None = None,
    rate_of: Callable[[str], float] = lambda _: 1.0,
) -> dict[str, float]:
    """Train `model` in place; on return it holds the final (or averaged) weights and is in evaluation mode.

    Running it again with the same folder resumes from the last checkpoint; a finished run returns at once.
    Ctrl-C ends the step in progress, saves a checkpoint and then raises KeyboardInterrupt.

    Args:
        model: On the device on which it is to be trained; its initial weights matter only for a new folder.
        batch_fn: Makes one batch from the step's generator. Runs in background threads, for several steps at once.
        loss_fn: Returns scalars; `loss` is minimised, the others are logged. Draws from torch's global generators are seeded.
        config: The optimisation.
        folder: Where checkpoints and metrics go.
        part_fn: Returns some samples of a batch, ready for `loss_fn`; needed when batches are cut into parts. Runs in the
            background thread on every batch, so that it can do what is expensive.
        describe: Says what a batch that made the loss infinite was made of.
        validate: Called on the (averaged) model in evaluation mode, without gradients, at each checkpoint.
        export: Writes the (averaged) model to the folder of each checkpoint, in the form in which it is used.
        track: Called with the step and the values of every line of metrics.
        on_step: Called after each step with (steps done, steps in all, last logged metrics).
        rate_of: From the name of a parameter to its learning rate, as a share of the configuration's; 1 by default.

    Returns:
        The last logged training metrics, and those of `validate`, each named `validation/…`.

    Raises:
        ConfigError: The folder holds a run with another configuration; the message names the fields. Or another command trains
            there: the message says which.
        CheckpointError: The checkpoint in the folder is damaged or belongs to another model.
        SoarError: The loss is no longer finite, or the disk is full.
    """
    check_parts(config, cuttable=part_fn is not None)
    group = current_group()
    with only_here(folder, "--out") if group.leads else nullcontext():
        if group.leads:
            claim(folder / "fit.json", dataclasses.asdict(config), dataclasses.asdict(FitConfig(steps=1)))
        group.wait()
        if config.channels_last:
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = adamw(
            model, rate_of, learning_rate=config.learning_rate, beta2=config.beta2, weight_decay=config.weight_decay
        )
        state = TrainingState(model=model, optimizer=optimizer, ema=None if config.ema is None else Ema(model, config.ema))
        metrics = restore(state, folder / "checkpoints")
        if state.step < config.steps:
            batches = _Batches(batch_fn, part_fn, describe, config, group)
            journal = MetricsLog(folder, state.step, writes=group.leads, track=track)

            def keep(metrics: dict[str, float]) -> None:
                if group.leads:
                    save(state, folder / "checkpoints", metrics, kept=config.checkpoints_kept, export=export)

            metrics = _run(
                state, batches, journal, loss_fn=loss_fn, keep=keep, metrics=metrics, validate=validate, on_step=on_step
            )
        if state.ema is not None:
            state.ema.copy_to(model)
        model.eval()
        return {name: value for name, value in metrics.items() if name not in SPEED}


@dataclass(frozen=True, slots=True)
class _Batches(Generic[B]):
    """Where the batches come from, and which parts of them are this process's."""

    batch_fn: Callable[[np.random.Generator], B]
    part_fn: Callable[[B, slice], B] | None
    describe: Callable[[B], str] | None
    config: FitConfig
    group: Group

    @property
    def parts(self) -> list[int]:
        """The numbers of this process's parts."""
        count = self.config.accumulate
        return list(range(self.group.rank * count, (self.group.rank + 1) * count))

    def make(self, step: int) -> list[B]:
        """Return this process's parts of the batch of a step."""
        batch = self.batch_fn(generator(self.config.seed, "batch", step))
        if self.part_fn is None:
            return [batch]
        return [self.part_fn(batch, slice(part, None, self.config.accumulate * self.group.size)) for part in self.parts]

    def describe_step(self, step: int) -> str:
        """Say what the batch of a step was made of; empty if nobody knows."""
        if self.describe is None:
            return ""
        return self.describe(self.batch_fn(generator(self.config.seed, "batch", step)))


def _run(
    state: TrainingState,
    batches: _Batches[B],
    journal: MetricsLog,
    *,
    loss_fn: Callable[[nn.Module, B], dict[str, Tensor]],
    keep: Callable[[dict[str, float]], None],
    metrics: dict[str, float],
    validate: Callable[[nn.Module], dict[str, float]] | None,
    on_step: Callable[[int, int, dict[str, float]], None] | None,
) -> dict[str, float]:
    config, group = batches.config, batches.group
    state.model.train()
    whole = True
    with _deferred_interrupt() as interrupted, prefetched(batches.make, range(state.step, config.steps)) as upcoming:
        try:
            while True:
                waited_s = time.monotonic()
                parts = next(upcoming, None)
                waited_s = time.monotonic() - waited_s
                if parts is None:
                    break
                whole = False
                journal.add(_step(state, loss_fn, parts, batches), waited_s)
                whole = True
                at_checkpoint = state.step % config.checkpoint_every == 0 or state.step == config.steps
                if at_checkpoint or state.step % config.log_every == 0:
                    rate = learning_rate(config, state.step - 1)
                    metrics = {**metrics, **journal.flush(state.step, rate, config.batch_size, batches.describe_step)}
                if at_checkpoint:
                    if validate is not None and group.leads:
                        with state.averaged() as model, torch.no_grad():
                            values = {f"validation/{name}": float(value) for name, value in validate(model).items()}
                        journal.write(state.step, values)
                        metrics = {**metrics, **values}
                    keep(metrics)
                    group.wait()
                if on_step is not None:
                    on_step(state.step, config.steps, metrics)
                if interrupted.is_set():
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            # The first signal is deferred to the end of a step. A second one may cut a step in half: that state is not kept.
            # Neither is one that diverged since the last line of metrics: flushing would say so.
            if whole:
                journal.flush(state.step, learning_rate(config, state.step - 1), config.batch_size, batches.describe_step)
                keep(metrics)
            log.info("interrupted after step %d of %d; run the same command again to resume", state.step, config.steps)
            raise
        finally:
            journal.close()
    return metrics


def _step(
    state: TrainingState, loss_fn: Callable[[nn.Module, B], dict[str, Tensor]], parts: list[B], batches: _Batches[B]
) -> dict[str, Tensor]:
    config = batches.config
    for group in state.optimizer.param_groups:
        group["lr"] = group["share"] * learning_rate(config, state.step)
    device = next(state.model.parameters()).device
    state.optimizer.zero_grad(set_to_none=True)
    sums: dict[str, Tensor] = {}
    for number, part in zip(batches.parts, parts, strict=True):
        torch.manual_seed(derive_seed(config.seed, f"torch/{number}" if number else "torch", state.step))
        with torch.autocast(device.type, torch.bfloat16, enabled=config.bf16 and computes_bf16(device)):
            losses = loss_fn(state.model, part)
        (losses["loss"] / len(parts)).backward()  # type: ignore[no-untyped-call]
        for name, value in losses.items():
            sums[name] = sums.get(name, torch.zeros_like(value.detach())) + value.detach() / len(parts)
    batches.group.average_gradients(state.model)
    norm = nn.utils.clip_grad_norm_(state.model.parameters(), config.clip_norm)
    state.optimizer.step()
    state.step += 1
    if state.ema is not None:
        state.ema.update(state.model, state.step)
    return {**batches.group.average(sums), "gradient_norm": norm.detach()}


@contextmanager
def _deferred_interrupt() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C or SIGTERM into an event, so that no step is cut in half; the second one interrupts at once.

    The signal comes again at the end, so that whoever asked is answered as if it had not been deferred.
    """
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    # Where SIGTERM simply ends the process, it goes on doing so.
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: handler for number, handler in handlers.items() if callable(handler)}
    came: list[int] = []

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def request(number: int, _frame: object) -> None:
        came.append(number)
        event.set()
        restore()

    for number in before:
        signal.signal(number, request)
    try:
        yield event
    except KeyboardInterrupt:
        restore()
        if came:
            signal.raise_signal(came[0])
        raise
    finally:
        restore()
