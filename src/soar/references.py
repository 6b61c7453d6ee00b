"""A user's own class or function, by its name: `MODULE:NAME`, wherever a command or a file asks for a robot or a model.

    my_lab.arm:open_arm        the function (or class) `open_arm` of the module `my_lab.arm`; it is called with no arguments, or
                               with the `options` of the file that names it

A module is looked for where Python looks, then in the current directory, then in the folder of the file that names it.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from soar.errors import ConfigError, SoarError
from soar.extras import advice

_REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def is_reference(name: str) -> bool:
    """Whether a text is `MODULE:NAME`; a URL, a path or a plain name is not."""
    return bool(_REFERENCE.fullmatch(name))


def resolve(name: str, kind: str, folder: Path | None = None) -> Callable[..., Any]:
    """Import what `MODULE:NAME` names.

    Args:
        name: The reference.
        kind: What it is to be, for messages: `robot driver`, `policy`, …
        folder: Of the file that names it; None when the command line does.

    Raises:
        ConfigError: It cannot be imported, or cannot be called; the message says why.
    """
    if not is_reference(name):
        raise ConfigError(f"{kind} {name!r} must be MODULE:NAME, such as my_lab.arm:open_arm")
    for place in [Path.cwd(), *([folder.resolve()] if folder is not None else [])]:
        if str(place) not in sys.path:
            sys.path.append(str(place))
    module, _, attribute = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except SoarError:
        raise
    except Exception as error:
        if isinstance(error, ImportError) and (said := advice(error)):
            raise ConfigError(f"{kind} {name!r} cannot be imported: {said}") from error
        raise ConfigError(
            f"{kind} {name!r} cannot be imported: {type(error).__name__}: {error}. Install it, put "
            f"{module.partition('.')[0]}.py into the current directory or beside the file that names it, or correct the name."
        ) from error
    if not callable(found):
        raise ConfigError(f"{kind} {name!r} is a {type(found).__name__}, which cannot be called: name a function or a class")
    return cast(Callable[..., Any], found)


def build(name: str, kind: str, options: Mapping[str, Any] | None = None, folder: Path | None = None) -> Any:
    """Return what the function or class behind `MODULE:NAME` makes.

    Args:
        name: The reference.
        kind: What it is to be, for messages.
        options: Keyword arguments.
        folder: See `resolve`.

    Raises:
        ConfigError: It cannot be imported, or raises an exception; the message has that exception's words.
    """
    function = resolve(name, kind, folder)
    try:
        return function(**(options or {}))
    except SoarError:
        raise
    except Exception as error:
        shown = {key: "(not shown)" if "token" in key else value for key, value in (options or {}).items()}
        given = f" with options {shown}" if shown else ""
        raise ConfigError(f"{kind} {name!r} cannot be opened{given}: {type(error).__name__}: {error}") from error


def made(name: str, kind: str, protocol: type, options: Mapping[str, Any] | None = None, folder: Path | None = None) -> Any:
    """Return what the function or class behind `MODULE:NAME` makes, which has to have the members of a protocol.

    Raises:
        ConfigError: See `build`, or a member is missing; the message names it.
    """
    found = build(name, kind, options, folder)
    members = sorted(member for member in protocol_members(protocol) if not hasattr(found, member))
    if members:
        raise ConfigError(
            f"{kind} {name!r} is a {type(found).__name__}, which lacks {', '.join(members)}: see {protocol.__module__}."
            f"{protocol.__name__}; soar.testing has a contract that tries it"
        )
    return found


def protocol_members(protocol: type) -> set[str]:
    """Return the names of what a protocol asks for."""
    return {name for name in vars(protocol) if not name.startswith("_")} | set(vars(protocol).get("__annotations__", {}))
