"""One training loop for every model: same seed, same weights, whether or not it was interrupted.

The batch of step s, and every random number that the loss draws, are functions of (seed, s) alone. The state after step s is
therefore a function of the state after step s - 1, and a run that is killed and started again continues from its last
checkpoint to the very same weights, bit for bit, on the same machine with the same number of threads.

    folder/fit.json              the configuration; another one in the same folder is refused
    folder/checkpoints/STEP/     model, optimiser and EMA (safetensors), state.json (JSON); the last two are kept
    folder/metrics.jsonl         one line each `log_every` steps
    folder/tensorboard/          the same for TensorBoard

Batches are prepared by one background thread, at most `PREFETCH` ahead. They depend on the step only, so this changes nothing
but the speed; `batch_fn` must draw from the generator that it is given and from nothing else.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from soar.errors import ConfigError
from soar.seeding import derive_seed, generator
from soar.training.checkpoints import Ema, TrainingState, claim, restore, save
from soar.training.journal import Journal

log = logging.getLogger(__name__)
B = TypeVar("B")
PREFETCH = 2


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
        log_every: Steps between lines of metrics.
        bf16: Run the forward pass in bfloat16 autocast.
        channels_last: Keep 4-D weights in channels-last memory order, which is faster for small convolutions.
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
    log_every: int = 50
    bf16: bool = False
    channels_last: bool = False

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "checkpoint_every", "log_every"):
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


def fit(
    model: nn.Module,
    batch_fn: Callable[[np.random.Generator], B],
    loss_fn: Callable[[nn.Module, B], dict[str, Tensor]],
    config: FitConfig,
    folder: Path,
    *,
    validate: Callable[[nn.Module], dict[str, float]] | None = None,
    on_step: Callable[[int, int, dict[str, float]], None] | None = None,
) -> dict[str, float]:
    """Train `model` in place; on return it holds the final (or averaged) weights and is in evaluation mode.

    Running it again with the same folder resumes from the last checkpoint; a finished run returns at once.
    Ctrl-C ends the step in progress, saves a checkpoint and then raises KeyboardInterrupt.

    Args:
        model: On the device on which it is to be trained; its initial weights matter only for a new folder.
        batch_fn: Makes one batch from the step's generator. Runs in a background thread.
        loss_fn: Returns scalars; `loss` is minimised, the others are logged. Draws from torch's global generators are seeded.
        config: The optimisation.
        folder: Where checkpoints and metrics go.
        validate: Called on the (averaged) model in evaluation mode, without gradients, at each checkpoint.
        on_step: Called after each step with (steps done, steps in all, last logged metrics).

    Returns:
        The last logged training metrics, and those of `validate`, each named `validation/…`.

    Raises:
        ConfigError: The folder holds a run with another configuration; the message names the fields.
        CheckpointError: The checkpoint in the folder is damaged or belongs to another model.
        SoarError: The loss is no longer finite, or the disk is full.
    """
    claim(folder / "fit.json", dataclasses.asdict(config))
    if config.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, betas=(0.9, config.beta2), weight_decay=config.weight_decay, fused=True
    )
    state = TrainingState(model=model, optimizer=optimizer, ema=None if config.ema is None else Ema(model, config.ema))
    metrics = restore(state, folder / "checkpoints")
    if state.step < config.steps:
        metrics = _run(
            state,
            batch_fn=batch_fn,
            loss_fn=loss_fn,
            config=config,
            folder=folder,
            metrics=metrics,
            validate=validate,
            on_step=on_step,
        )
    if state.ema is not None:
        state.ema.copy_to(model)
    model.eval()
    return metrics


def _run(
    state: TrainingState,
    *,
    batch_fn: Callable[[np.random.Generator], B],
    loss_fn: Callable[[nn.Module, B], dict[str, Tensor]],
    config: FitConfig,
    folder: Path,
    metrics: dict[str, float],
    validate: Callable[[nn.Module], dict[str, float]] | None,
    on_step: Callable[[int, int, dict[str, float]], None] | None,
) -> dict[str, float]:
    journal = Journal(folder, state.step)
    state.model.train()
    whole = True
    with _deferred_interrupt() as interrupted, _prefetched(batch_fn, config, state.step) as batches:
        try:
            for batch in batches:
                whole = False
                journal.add(_step(state, loss_fn, batch, config))
                whole = True
                at_checkpoint = state.step % config.checkpoint_every == 0 or state.step == config.steps
                if at_checkpoint or state.step % config.log_every == 0:
                    metrics = {**metrics, **journal.flush(state.step, learning_rate(config, state.step - 1))}
                if at_checkpoint:
                    if validate is not None:
                        values = _validated(state, validate)
                        journal.write(state.step, values)
                        metrics = {**metrics, **values}
                    save(state, folder / "checkpoints", metrics)
                if on_step is not None:
                    on_step(state.step, config.steps, metrics)
                if interrupted.is_set():
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            # The first signal is deferred to the end of a step. A second one may cut a step in half: that state is not kept.
            if whole:
                save(state, folder / "checkpoints", metrics)
            log.info("interrupted after step %d of %d; run the same command again to resume", state.step, config.steps)
            raise
        finally:
            journal.close()
    return metrics


def _step(
    state: TrainingState, loss_fn: Callable[[nn.Module, B], dict[str, Tensor]], batch: B, config: FitConfig
) -> dict[str, Tensor]:
    torch.manual_seed(derive_seed(config.seed, "torch", state.step))
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(config, state.step)
    device = next(state.model.parameters()).device
    with torch.autocast(device.type, torch.bfloat16, enabled=config.bf16):
        losses = loss_fn(state.model, batch)
    state.optimizer.zero_grad(set_to_none=True)
    losses["loss"].backward()  # type: ignore[no-untyped-call]
    norm = nn.utils.clip_grad_norm_(state.model.parameters(), config.clip_norm)
    state.optimizer.step()
    state.step += 1
    if state.ema is not None:
        state.ema.update(state.model, state.step)
    return {**{name: value.detach() for name, value in losses.items()}, "gradient_norm": norm.detach()}


def _validated(state: TrainingState, validate: Callable[[nn.Module], dict[str, float]]) -> dict[str, float]:
    raw = None
    if state.ema is not None:
        raw = {name: value.clone() for name, value in state.model.state_dict().items()}
        state.ema.copy_to(state.model)
    state.model.eval()
    with torch.no_grad():
        values = {f"validation/{name}": float(value) for name, value in validate(state.model).items()}
    if raw is not None:
        state.model.load_state_dict(raw)
    state.model.train()
    return values


@contextmanager
def _prefetched(batch_fn: Callable[[np.random.Generator], B], config: FitConfig, start: int) -> Iterator[Iterator[B]]:
    """Yield the batches of steps `start` … `steps - 1` in order, made ahead by one thread."""
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")

    def make(step: int) -> B:
        return batch_fn(generator(config.seed, "batch", step))

    def batches() -> Iterator[B]:
        ahead: deque[Future[B]] = deque()
        upcoming = iter(range(start, config.steps))
        while True:
            while len(ahead) < PREFETCH and (step := next(upcoming, None)) is not None:
                ahead.append(pool.submit(make, step))
            if not ahead:
                return
            yield ahead.popleft().result()

    try:
        yield batches()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _deferred_interrupt() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into an event, so that no step is cut in half; the second one interrupts at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = signal.getsignal(signal.SIGINT)

    def request(_number: int, _frame: object) -> None:
        event.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, request)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)
