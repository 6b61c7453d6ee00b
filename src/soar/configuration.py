"""YAML files under `soar/configs` become validated dataclasses; errors name the file, the key and the valid choices."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from soar.errors import ConfigError, UnknownNameError
from soar.untrusted import parse_yaml

CONFIGS = Path(__file__).parent / "configs"
T = TypeVar("T")


def names(kind: str) -> list[str]:
    """Return the names of all configs of a kind (`scenes`, `robots`, `presets`, …)."""
    return sorted(path.stem for path in (CONFIGS / kind).glob("*.yaml"))


def find(kind: str, name: str) -> Path:
    """Return the path of a named config, or of the YAML file that `name` points at.

    Raises:
        UnknownNameError: There is neither; the message lists the names that exist.
    """
    as_path = Path(name)
    if as_path.suffix in (".yaml", ".yml") and as_path.is_file():
        return as_path
    path = CONFIGS / kind / f"{name}.yaml"
    if not path.is_file():
        raise UnknownNameError(kind.rstrip("s"), name, names(kind), f"Or pass the path of a YAML file ({kind}).")
    return path


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping.

    Raises:
        ConfigError: The file cannot be read, is not YAML, or is not a mapping.
    """
    try:
        data = parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 ({error}); save it in that encoding") from error
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a mapping of keys to values, got {type(data).__name__}")
    return data


def validate(cls: type[T], data: Mapping[str, Any], where: str) -> T:
    """Build the dataclass `cls` from a mapping.

    Raises:
        ConfigError: A key is unknown, missing, of the wrong kind, or refused; the message names `where` and the key.
    """
    _check_keys(cls, data, where)
    try:
        return TypeAdapter(cls).validate_python(dict(data))
    except ValidationError as error:
        lines = [f"{'.'.join(str(part) for part in e['loc']) or '(top)'}: {e['msg']}" for e in error.errors()]
        raise ConfigError(f"{where}: " + "; ".join(lines)) from error
    except UnknownNameError:
        raise
    except ConfigError as error:  # a value that the dataclass itself refuses
        if where in str(error):
            raise
        raise ConfigError(f"{where}: {error}") from error


def differences(
    theirs: Mapping[str, Any],
    mine: Mapping[str, Any],
    *,
    defaults: Mapping[str, Any] | None = None,
    ignoring: Collection[str] = (),
) -> list[str]:
    """Return the keys in which two nested mappings differ, such as `fit.steps (5 there, 6 now)`.

    Args:
        theirs: One of them, such as what a file says.
        mine: The other.
        defaults: What counts where `theirs` lacks a key that `mine` has; None otherwise.
        ignoring: Dotted names that may differ, with all that is inside of them.
    """
    now = _flat(mine)
    then = {name: value for name, value in _flat(defaults or {}).items() if name in now} | _flat(theirs)
    return [
        f"{name} ({then.get(name)} there, {now.get(name)} now)"
        for name in then | now
        if then.get(name) != now.get(name) and not any(f"{name}.".startswith(f"{ignored}.") for ignored in ignoring)
    ]


def defaults(cls: type[Any]) -> dict[str, Any]:
    """Return the default values of a dataclass, plain, as far as it has any; of dataclasses inside of it, too.

    What was written before a field existed, with whose default it acts as before, is compared with these.
    """
    hints, found = get_type_hints(cls), dict[str, Any]()
    for field in dataclasses.fields(cls):
        if field.default is not dataclasses.MISSING:
            found[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            found[field.name] = field.default_factory()
        elif isinstance(hint := hints[field.name], type) and dataclasses.is_dataclass(hint):
            found[field.name] = defaults(hint)
        if dataclasses.is_dataclass(value := found.get(field.name)) and not isinstance(value, type):
            found[field.name] = dataclasses.asdict(value)
    plain: dict[str, Any] = json.loads(json.dumps(found, default=str))
    return plain


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def _check_keys(cls: type[Any], data: Mapping[str, Any], where: str) -> None:
    """Refuse unknown keys, also in dataclasses inside of dataclasses: a key that nobody reads is a typing error."""
    if not dataclasses.is_dataclass(cls):
        return
    hints = get_type_hints(cls)
    for key, value in data.items():
        if key not in hints:
            raise UnknownNameError("key", str(key), hints, f"In {where}.")
        if not isinstance(value, Mapping):
            continue
        for inner in (hints[key], *get_args(hints[key])):
            if not dataclasses.is_dataclass(inner) or not isinstance(inner, type):
                continue
            if get_origin(hints[key]) in (dict, Mapping):
                for name, item in value.items():
                    if isinstance(item, Mapping):
                        _check_keys(inner, item, f"{where}: {key}.{name}")
            else:
                _check_keys(inner, value, f"{where}: {key}")


def layers(kind: str, name: str) -> list[tuple[str, dict[str, Any]]]:
    """Return what a config says after those that it extends, each with its file's name.

    `extends` names one, or the path of a file beside it.

    Raises:
        UnknownNameError: One of them does not exist.
        ConfigError: One cannot be read, or extends itself in the end.
    """
    found: list[tuple[str, dict[str, Any]]] = []
    paths: list[Path] = []
    extended: str | None = name
    while extended is not None:
        beside = paths[-1].parent / extended if paths else Path(extended)
        path = find(kind, str(beside) if beside.is_file() else extended)
        if path.resolve() in paths:
            raise ConfigError(f"{paths[0]} extends itself: {' extends '.join(map(str, [*paths, path.resolve()]))}")
        paths.append(path.resolve())
        said = read_yaml(path)
        extended = said.pop("extends", None)
        if extended is not None and not isinstance(extended, str):
            raise ConfigError(f"{path}: extends: name one config, or the path of its YAML file; got {extended!r}")
        found.insert(0, (str(path), said))
    return found


def merged(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return nested mappings as one, in which later ones count more, key by key."""
    whole: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            before = whole.get(key)
            both = isinstance(before, Mapping) and isinstance(value, Mapping)
            whole[key] = merged([before, value]) if both else value  # type: ignore[list-item]
    return whole


def load(cls: type[T], kind: str, name: str, settings: Sequence[str] = ()) -> T:
    """Load the named config of a kind as the dataclass `cls`.

    Args:
        cls: What it becomes.
        kind: See `names`.
        name: A name, or the path of a YAML file.
        settings: Such as `collection.exploration.sigma=0.5`: what counts more than the file.
    """
    parts = layers(kind, name)
    said = merged([*(part for _, part in parts), *map(setting, settings)])
    return validate(cls, said, ", ".join([parts[-1][0], *settings]))


def setting(text: str) -> dict[str, Any]:
    """Return what `a.b.c=VALUE` says, nested; the value is YAML.

    Raises:
        ConfigError: It is something else.
    """
    name, equals, value = text.partition("=")
    if not equals or not all(name.split(".")):
        raise ConfigError(f"--set {text}: write NAME=VALUE, such as improvement.collection.exploration.sigma=0.5")
    try:
        said: Any = parse_yaml(value)
    except ValueError as error:
        raise ConfigError(f"--set {name}: {value!r}: {error}") from error
    for key in reversed(name.split(".")):
        said = {key: said}
    nested: dict[str, Any] = said
    return nested
