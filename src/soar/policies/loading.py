"""How a policy is named: one text, wherever a command asks for one.

a folder                  the policy in it (`soar.policies.learned`)
an ONNX file              the policy that was exported to it (`soar.policies.onnx`)
a URL                     the one behind `soar serve policy` there (`soar.policies.remote`)
a YAML file               `backend: remote` with the fields of `RemoteConfig`
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from soar.configuration import read_yaml, validate
from soar.errors import ConfigError, UnknownNameError
from soar.policies.chunked import PlanningPolicy
from soar.policies.learned import LearnedPolicy
from soar.policies.onnx import SUFFIX, ExportedPolicy
from soar.remote.wire import is_url

if TYPE_CHECKING:
    from soar.policies.remote import RemotePolicy


@functools.cache
def open_policy(name: str) -> PlanningPolicy | RemotePolicy:
    """Return a policy, opened once a process.

    Raises:
        CheckpointError: A folder holds no policy, or a damaged one.
        ConfigError: The YAML file is invalid, or what the client needs is not installed.
        ModelServerError: The server is not there, or serves something else.
    """
    path = Path(name)
    if is_url(name):
        return _remote({"url": name}, name)
    if path.suffix in (".yaml", ".yml"):
        data = read_yaml(path)
        if (backend := data.pop("backend", None)) != "remote":
            raise UnknownNameError("backend", str(backend), ["remote"], f"Give one as `backend:` in {path}.")
        return _remote(data, name)
    return ExportedPolicy.load(path) if path.suffix == SUFFIX else LearnedPolicy.load(path)


def _remote(data: dict[str, object], where: str) -> RemotePolicy:
    if importlib.util.find_spec("httpx2") is None:
        raise ConfigError(f"{where} needs httpx2. Install it: pip install 'soar-robot[serve]'")
    from soar.policies.remote import RemotePolicy
    from soar.remote.client import RemoteConfig

    return RemotePolicy(validate(RemoteConfig, data, where))
