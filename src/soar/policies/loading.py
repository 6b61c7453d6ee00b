"""How a policy is named: one text, wherever a command asks for one.

a folder                  the policy in it (`soar.policies.learned`), or that it names (`soar.policies.named`)
an ONNX file              the policy that was exported to it (`soar.policies.onnx`)
a URL                     the one behind `soar serve policy` there (`soar.policies.remote`)
MODULE:NAME               what that function or class of yours makes (see `soar.references`)
a YAML file               `backend: remote` with the fields of `RemoteConfig`, `backend: openpi` for a server of openpi's
                          protocol (`soar.policies.openpi.maps`), `backend: by-task` for one of several, by the instruction
                          (`soar.policies.by_task`), or `backend: MODULE:NAME` with the arguments of your function or class
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from soar.configuration import read_yaml, validate
from soar.errors import ConfigError, UnknownNameError
from soar.extras import require
from soar.policies.base import Policy
from soar.policies.by_task import BACKEND, ByTaskConfig, load_by_task
from soar.policies.named import NamedPolicy, chain_from, check_place
from soar.references import is_reference, made
from soar.remote.wire import is_url

if TYPE_CHECKING:
    from soar.policies.remote import RemotePolicy


@functools.cache
def load_policy(name: str) -> Policy:
    """Return a policy, opened once a process.

    Raises:
        CheckpointError: A folder holds no policy, or a damaged one.
        ConfigError: The YAML file is invalid, or what the client needs is not installed.
        ModelServerError: The server is not there, or serves something else.
    """
    path = Path(name)
    if is_url(name):
        return _remote({"url": name}, name)
    if name.startswith(("ws://", "wss://")):
        raise ConfigError(
            f"policy {name}: a server of openpi's protocol does not say what its pictures and numbers are. Write that into a "
            f"YAML file with `backend: openpi` and `url: {name}`, and name the file (docs/how-to/your-policy.md)"
        )
    if is_reference(name):
        own: Policy = made(name, "policy", Policy)
        return own
    if path.suffix in (".yaml", ".yml"):
        return _described(path)
    if chain := list(chain_from(path)):
        check_place(chain[0])
        return NamedPolicy(load_policy(chain[0].target), chain[0])
    # What a robot's computer may lack is imported when it is needed: it runs an ONNX file, or asks a server.
    if path.suffix == ".onnx":
        from soar.policies.onnx import ExportedPolicy

        return ExportedPolicy.load(path)
    instead = "name an ONNX file (soar export-policy) or the URL of a server (soar serve policy)"
    require("torch", f"policy {name}: a policy's folder", instead)
    from soar.policies.learned import LearnedPolicy

    return LearnedPolicy.load(path)


def _described(path: Path) -> Policy:
    """Return the policy that a YAML file describes."""
    data = read_yaml(path)
    backend = str(data.pop("backend", None))
    if is_reference(backend):
        own: Policy = made(backend, "policy", Policy, data, path.parent)
        return own
    if backend == "openpi":
        return _openpi(data, str(path))
    if backend == "remote":
        return _remote(data, str(path))
    if backend == BACKEND:
        return load_by_task(validate(ByTaskConfig, data, str(path)), path, load_policy)
    raise UnknownNameError(
        "backend", backend, ["remote", "openpi", BACKEND, "MODULE:NAME"], f"Give one as `backend:` in {path}."
    )


def _remote(data: dict[str, object], where: str) -> RemotePolicy:
    from soar.policies.remote import RemotePolicy
    from soar.remote.client import RemoteConfig

    return RemotePolicy(validate(RemoteConfig, data, where))


def _openpi(data: dict[str, object], where: str) -> Policy:
    require("websockets", f"policy {where}: a server of openpi's protocol")
    from soar.policies.openpi.maps import OpenPIConfig
    from soar.policies.openpi.policy import OpenPIPolicy

    return OpenPIPolicy(validate(OpenPIConfig, data, where))
