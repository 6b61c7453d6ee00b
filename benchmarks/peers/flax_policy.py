"""The peer of our benchmarks: the paper's goal-conditioned policy in flax, its update with optax, both jitted by XLA.

It is run by the interpreter of `scripts/peer.sh flax` and answers one JSON line for each line on its standard input:

    train N      N updates: normalise uint8 images, forward with dropout, loss, gradients, clip by global norm, AdamW
    act N        N forward passes of one observation and goal

with {"cpu_s": …, "wall_s": …} a call, the least of the N. The first line that it prints is {"parameters": …, "device": …}.
It is written from the description of the architecture in `soar.policies.encoders`; the batch is random and stays on the device.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

STAGES = (3, 4, 6, 3)


class Block(nn.Module):
    """conv → norm → swish → conv → norm, added to the (projected) input, then swish."""

    filters: int
    stride: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Return NHWC features."""
        conv = partial(nn.Conv, use_bias=False, dtype=self.dtype)
        norm = partial(nn.GroupNorm, num_groups=4, epsilon=1e-5, dtype=self.dtype)
        stride = (self.stride, self.stride)
        y = nn.swish(norm()(conv(self.filters, (3, 3), stride)(x)))
        y = norm()(conv(self.filters, (3, 3))(y))
        if x.shape != y.shape:
            x = norm()(conv(self.filters, (1, 1), stride)(x))
        return nn.swish(x + y)


class Policy(nn.Module):
    """ResNet-34 with GroupNorm on observation and goal, and the mean of the action."""

    dtype: Any

    @nn.compact
    def __call__(self, observation: jax.Array, goal: jax.Array, train: bool) -> jax.Array:
        """Return the mean of the normalised action."""
        x = jnp.concatenate([observation, goal], -1).astype(self.dtype) / 127.5 - 1
        x = nn.Conv(64, (7, 7), (2, 2), padding=3, use_bias=False, dtype=self.dtype)(x)
        x = nn.swish(nn.GroupNorm(num_groups=4, epsilon=1e-5, dtype=self.dtype)(x))
        x = nn.max_pool(x, (3, 3), (2, 2), padding="SAME")
        for stage, count in enumerate(STAGES):
            for index in range(count):
                x = Block(64 * 2**stage, 2 if stage and not index else 1, self.dtype)(x)
        x = x.mean((1, 2))
        for _ in range(3):
            x = nn.swish(nn.Dropout(0.1, deterministic=not train)(nn.Dense(256, dtype=self.dtype)(x)))
        return nn.Dense(7, dtype=self.dtype)(x).astype(jnp.float32)


def training(policy: Policy, parameters: Any, size: int, batch: int) -> Callable[[], None]:
    """Return what makes one update on a random batch."""
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(optax.warmup_cosine_decay_schedule(0, 3e-4, 2000, 500_000), 0.9, 0.98, weight_decay=1e-3),
    )
    state = {"parameters": parameters, "optimizer": optimizer.init(parameters), "rng": jax.random.PRNGKey(1)}
    rng = np.random.default_rng(0)
    images = [jnp.asarray(rng.integers(0, 256, (batch, size, size, 3), np.uint8)) for _ in range(2)]
    action = jnp.asarray(rng.standard_normal((batch, 7), np.float32))
    std = jnp.asarray([1.0] * 6 + [0.1])

    def loss(parameters: Any, rng: jax.Array, images: list[jax.Array], action: jax.Array) -> jax.Array:
        mean = policy.apply(parameters, *images, True, rngs={"dropout": rng})
        return (0.5 * jnp.square((mean - action) / std).sum(-1) + jnp.log(std * jnp.sqrt(2 * jnp.pi)).sum()).mean()

    @partial(jax.jit, donate_argnums=0)
    def update(state: dict[str, Any], images: list[jax.Array], action: jax.Array) -> tuple[dict[str, Any], jax.Array]:
        # The batch is an argument: XLA would compute with constants while it compiles.
        rng, next_rng = jax.random.split(state["rng"])
        value, gradients = jax.value_and_grad(loss)(state["parameters"], rng, images, action)
        updates, optimizer_state = optimizer.update(gradients, state["optimizer"], state["parameters"])
        return {
            "parameters": optax.apply_updates(state["parameters"], updates),
            "optimizer": optimizer_state,
            "rng": next_rng,
        }, value

    def step() -> None:
        nonlocal state
        state, value = update(state, images, action)
        value.block_until_ready()

    return step


def acting(policy: Policy, parameters: Any, size: int) -> Callable[[], None]:
    """Return what computes the action for one observation and goal that come from the host."""
    observation, goal = np.random.default_rng(0).integers(0, 256, (2, 1, size, size, 3), np.uint8)
    mean = jax.jit(lambda parameters, observation, goal: policy.apply(parameters, observation, goal, False))

    def step() -> None:
        np.asarray(mean(parameters, observation, goal))

    return step


def main() -> None:
    """Compile when a call is first asked for, and answer until standard input ends."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=128, help="of the images [px]")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32", help="of what layers compute")
    options = parser.parse_args()
    policy = Policy(jnp.dtype(options.dtype))
    example = jnp.zeros((1, options.size, options.size, 3), jnp.uint8)
    parameters = jax.jit(partial(policy.init, train=False))(jax.random.PRNGKey(0), example, example)
    count = sum(leaf.size for leaf in jax.tree.leaves(parameters))
    print(json.dumps({"parameters": count, "device": str(jax.devices()[0])}), flush=True)
    steps: dict[str, Callable[[], None]] = {}
    for line in sys.stdin:
        what, times = line.split()
        if what not in steps:
            begin = {"train": lambda: training(policy, jax.tree.map(jnp.copy, parameters), options.size, options.batch)}
            steps[what] = (begin | {"act": lambda: acting(policy, parameters, options.size)})[what]()
            for _ in range(2):  # Compile, and let memory be allocated.
                steps[what]()
        cpu_s, wall_s = [], []
        for _ in range(int(times)):
            start_cpu_s, start_s = time.process_time(), time.perf_counter()
            steps[what]()
            cpu_s.append(time.process_time() - start_cpu_s)
            wall_s.append(time.perf_counter() - start_s)
        print(json.dumps({"cpu_s": min(cpu_s), "wall_s": min(wall_s)}), flush=True)


if __name__ == "__main__":
    main()
