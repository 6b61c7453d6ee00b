"""The folder of a small model: what it is, its weights, and where they come from. Nothing in it runs code when it is read.

config.json        {"schema_version", "kind", "config", "weights"}: enough to build the network, and the SHA-256 of its weights
model.safetensors  the weights; float32 ones are stored as float16, unless training goes on from them
lineage.json       data, seed and metrics of its training; for people and provenance, never needed to load
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn
from torch.overrides import TorchFunctionMode

from soar.configuration import validate
from soar.errors import CheckpointError, ConfigError
from soar.files import replacing, write_json
from soar.nn.text_encoder import TextConfig
from soar.untrusted import parse_json

SCHEMA_VERSION = 1
_WIDEST = 2**16
"""No number in the description of a network is larger."""
T = TypeVar("T")
C = TypeVar("C")
N = TypeVar("N", bound=nn.Module)


def save_model(
    folder: Path, kind: str, config: Any, network: nn.Module, lineage: Mapping[str, Any], *, half: bool = True
) -> None:
    """Write a model to a folder; config.json last, so that one that was interrupted is never taken for whole.

    Args:
        folder: Made when it does not exist.
        kind: What the network is; `read_config` refuses another.
        config: Dataclass from which the network can be built again.
        network: Holds the weights.
        lineage: JSON values.
        half: Store float32 weights as float16.

    Raises:
        SoarError: The folder is read-only or the disk is full.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    if half:
        tensors = {name: value.half() if value.dtype == torch.float32 else value for name, value in tensors.items()}
    data = save(tensors)
    with replacing(folder / "model.safetensors") as path:
        path.write_bytes(data)
    write_json(folder / "lineage.json", dict(lineage))
    description = {"schema_version": SCHEMA_VERSION, "kind": kind, "config": dataclasses.asdict(config)}
    write_json(folder / "config.json", {**description, "weights": hashlib.sha256(data).hexdigest()})


def read_config(folder: Path, kind: str, cls: type[T]) -> T:
    """Return the configuration of the model in a folder.

    Raises:
        CheckpointError: There is none, or it is of another kind or schema version, or damaged.
    """
    path = folder / "config.json"
    try:
        description = parse_json(path.read_text(encoding="utf-8"))
        found, version, config = description["kind"], description["schema_version"], description["config"]
    except FileNotFoundError as error:
        raise CheckpointError(f"no {kind} in {folder}: {path.name} is missing. Train one or name another folder.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged ({error}). Train the {kind} again or restore the file.") from error
    if found != kind:
        raise CheckpointError(f"{folder} holds a {found}, not a {kind}. Name the folder of a {kind}.")
    if version != SCHEMA_VERSION:
        raise CheckpointError(f"{path}: schema version {version}, this SOAR reads {SCHEMA_VERSION}. Train the {kind} again.")
    try:
        return validate(cls, config, str(path))
    except ConfigError as error:
        raise CheckpointError(f"{path} is damaged: {error}. Train the {kind} again or restore the file.") from error


def continued_config(folder: Path, kind: str, config: T, text: TextConfig, fitted: tuple[str, ...] = ()) -> T:
    """Return the configuration with which training continues from the model in a folder: its own, with the words that are new.

    Args:
        folder: Of the model to continue from.
        kind: What it must be.
        config: The configuration that was asked for: a dataclass with a field `text`.
        text: The vocabulary that the data need.
        fitted: Fields that are results of training, and may differ.

    Raises:
        CheckpointError: There is no such model, or a damaged one.
        ConfigError: It is of another shape.
    """
    found = read_config(folder, kind, type(config))
    theirs, mine = dataclasses.asdict(found), dataclasses.asdict(config)  # type: ignore[call-overload]
    known = tuple(theirs["text"].pop("vocabulary"))
    mine["text"].pop("vocabulary")
    different = [
        f"{name} ({theirs[name]} there, {mine[name]} now)" for name in mine if theirs[name] != mine[name] and name not in fitted
    ]
    if different:
        raise ConfigError(
            f"cannot continue from the {kind} in {folder}: {', '.join(different)}. Configure the network of that model, or "
            "train a fresh one."
        )
    words = (*known, *sorted(set(text.vocabulary) - set(known)))
    grown: T = dataclasses.replace(found, text=dataclasses.replace(text, vocabulary=words))  # type: ignore[type-var]
    return grown


def read_weights(folder: Path, network: nn.Module, *, growing: str = "") -> str:
    """Load the weights of a folder into a network, and return a short digest that tells them from all others.

    Args:
        folder: Of the model.
        network: Gets the weights.
        growing: Name of a parameter of which the network may have more rows; those stay as they are.

    Raises:
        CheckpointError: They are missing, damaged, or of another network.
    """
    path = folder / "model.safetensors"
    try:
        expected = parse_json((folder / "config.json").read_text(encoding="utf-8"))["weights"]
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        if digest != expected:
            raise ValueError("these are not the weights that its config.json belongs to")
        tensors = {k: v.float() if v.dtype == torch.float16 else v for k, v in load(data).items()}
        if growing:
            own = network.state_dict()[growing]
            tensors[growing] = torch.cat([tensors[growing], own[len(tensors[growing]) :]])
        network.load_state_dict(tensors)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing. Train the model again or restore the file.") from error
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} is damaged ({error}). Train the model again or restore the file.") from error
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit its config.json: {error}") from error
    return digest[:8]


def digest_of(folder: Path) -> str:
    """Return the short digest of a model's weights that `read_weights` returns, without reading them.

    Raises:
        CheckpointError: The model's description is missing or damaged.
    """
    try:
        return str(parse_json((folder / "config.json").read_text(encoding="utf-8"))["weights"])[:8]
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{folder / 'config.json'} is damaged ({error}). Train the model again.") from error


class _Unfilled(TorchFunctionMode):
    """Draws nothing: for numbers at random in a tensor that has no memory torch imports its compiler, for seconds."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", "") == nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def make_network(make: Callable[[C], N], config: C, folder: Path) -> N:
    """Return the network of the model in a folder, without its weights; it is not made when its file cannot hold them.

    Args:
        make: Makes it.
        config: What `config.json` says, validated.
        folder: Of the model.

    Raises:
        CheckpointError: It is larger than the file of its weights, or cannot be made at all.
    """
    where, weights = folder / "config.json", folder / "model.safetensors"
    if _largest(dataclasses.asdict(config)) > _WIDEST:  # type: ignore[call-overload]
        raise CheckpointError(f"{where} is damaged: it asks for a network of absurd width. Restore the file.")
    try:
        if weights.is_file():
            with torch.device("meta"), _Unfilled():  # shapes, and no memory
                size = sum(value.numel() for value in make(config).state_dict().values())
            if size > weights.stat().st_size:  # a number takes two bytes at least
                raise ValueError(f"it describes {size} numbers, and {weights.name} has {weights.stat().st_size} bytes")
        return make(config)
    except (ValueError, TypeError, RuntimeError, OverflowError, MemoryError) as error:
        raise CheckpointError(f"{where} or {weights.name} is damaged: {error}. Restore both files.") from error


def _largest(value: Any) -> int:
    """Return the largest integer in nested values."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return max([value if isinstance(value, int) else 0, *map(_largest, inner)])


MODEL_FILES = ("lineage.json", "model.safetensors", "config.json")
"""What makes a model's folder; the order in which they are copied."""


def copy_model(source: Path, target: Path) -> None:
    """Copy a model; its description last, so that a copy that was cut off is not taken for a model.

    Raises:
        SoarError: A file cannot be read or written.
    """
    if source.resolve() == target.resolve():
        return
    for name in MODEL_FILES:
        with replacing(target / name) as temporary:
            temporary.write_bytes((source / name).read_bytes())
