"""Weights & Biases, for those who want it: every line of a run's metrics goes there, too.

Nothing waits for it: it sends from a process of its own. Offline (`WANDB_MODE=offline`) it writes to the run's folder, from
where `wandb sync` uploads it later. A run that is resumed continues its curves there.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from soar.errors import ConfigError, SoarError
from soar.files import write_text

_TIMEOUT_S = 60


@contextmanager
def weights_and_biases(
    project: str, folder: Path, config: Mapping[str, Any]
) -> Iterator[Callable[[int, dict[str, float]], None]]:
    """Yield what logs the values of a step.

    Args:
        project: Name of the project.
        folder: Of the run, `folder/wandb` of its files. The run's name is that of the folder above.
        config: What is shown as the run's configuration.

    Raises:
        ConfigError: The package is not installed.
        SoarError: The server does not answer, or does not know you.
    """
    try:
        import wandb
    except ImportError as error:
        raise ConfigError(
            "--wandb needs the package wandb: `pip install 'soar-robot[wandb]'`. TensorBoard needs nothing."
        ) from error
    identity = folder / "wandb-id"
    if not identity.exists():
        write_text(identity, uuid.uuid4().hex[:12])
    try:
        run = wandb.init(
            project=project,
            name=folder.parent.name,
            id=identity.read_text(encoding="utf-8").strip(),
            resume="allow",
            dir=str(folder),
            config=dict(config),
            # Metrics and nothing else: no console, no source code, no list of packages, no load of the machine.
            settings=wandb.Settings(
                console="off",
                save_code=False,
                disable_git=True,
                disable_code=True,
                x_save_requirements=False,
                x_disable_stats=True,
                x_disable_meta=True,
                silent=True,
                init_timeout=_TIMEOUT_S,
            ),
        )
    except (wandb.Error, OSError) as error:
        raise SoarError(
            f"Weights & Biases cannot be reached ({error}). Run `wandb login`, or set WANDB_MODE=offline to write to {folder} "
            "and upload later with `wandb sync`."
        ) from error
    failed = 1
    try:
        yield lambda step, values: run.log(values, step=step)
        failed = 0
    finally:
        run.finish(exit_code=failed)
