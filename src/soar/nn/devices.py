"""Which device of torch a model runs on, checked before anything is loaded: torch says late and unclearly what is missing."""

from __future__ import annotations

import torch

from soar.errors import ConfigError


def usable_device(name: str) -> str:
    """Return a device that works here; `auto` is a GPU when there is one, else the CPU.

    Raises:
        ConfigError: torch knows no such device, or cannot use it here.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (AssertionError, NotImplementedError, RuntimeError) as error:
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        here = ", ".join(["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))])
        raise ConfigError(f"torch cannot use the device {name!r}: {reason}. There are: {here}.") from error
    return name


def computes_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is computed here; a CPU that lacks it imitates it, ten times slower than float32."""
    if device.type != "cpu":
        return True
    built = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return built and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
