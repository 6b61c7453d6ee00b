"""Names for states of a store, so that what was trained on once can be trained on again.

`STORE@NAME` means the state that was given that name, wherever a store is meant; `STORE@STEPS.EPISODES`, with the versions of
the two tables, means the one that a checkpoint's lineage mentions. Both are read-only.

A name is a tag of Lance on either table. No command of ours removes old versions, and Lance itself spares tagged ones when it
is told to remove them. `episodes` is tagged last: a name is there when its tag is there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from soar.episodes import tables
from soar.episodes.store_errors import explaining
from soar.errors import StoreError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NUMBERS = re.compile(r"(\d+)\.(\d+)")


def split(uri: str) -> tuple[str, str]:
    """Return the folder and the name of a state in a text that says which store is meant; an empty name for the newest."""
    folder, at, name = uri.rpartition("@")
    if not (at and folder and _NAME.fullmatch(name)):
        return uri, ""
    if "://" not in uri and (Path(uri).exists() or not Path(tables.path(folder, "episodes")).exists()):
        return uri, ""
    return folder, name


def set_tag(uri: str, name: str, version: Mapping[str, int]) -> None:
    """Name a state of a store.

    Raises:
        StoreError: The name is taken or not one, there is no such state, or the store cannot be written.
    """
    if not _NAME.fullmatch(name) or _NUMBERS.fullmatch(name):
        raise StoreError(
            f"{name!r} is no name for a state of a store: use letters, digits, dots, dashes, and not two numbers alone"
        )
    known = tags_of(uri)
    if name in known:
        raise StoreError(
            f"{uri} has a state named {name!r} already, {known[name]}; a name means one state for ever, choose another"
        )
    with explaining("tag a state of", uri):
        for table in ("steps", "episodes"):
            on = tables.open_table(uri, table, None).tags
            # What a call that was killed left on the first table has no meaning yet.
            change = on.update if name in on.list() else on.create
            change(name, version[table])


def tags_of(uri: str) -> dict[str, dict[str, int]]:
    """Return the named states of a store."""
    with explaining("read", uri):
        steps, episodes = (_tags(uri, table) for table in ("steps", "episodes"))
    return {name: {"steps": steps[name], "episodes": episodes[name]} for name in sorted(episodes) if name in steps}


def version_of(uri: str, name: str) -> dict[str, int]:
    """Return the state that a name, or two numbers, mean.

    Raises:
        StoreError: There is no such state; the message lists the names that there are.
    """
    if numbers := _NUMBERS.fullmatch(name):
        return {"steps": int(numbers[1]), "episodes": int(numbers[2])}
    known = tags_of(uri)
    if name not in known:
        raise StoreError(
            f"{uri} has no state named {name!r}; its names: {', '.join(known) or 'none'}. `soar data tag {uri} --name {name}` "
            "names the present one"
        )
    return known[name]


def _tags(uri: str, table: str) -> dict[str, int]:
    tags: Mapping[str, Any] = tables.open_table(uri, table, None).tags.list()
    return {name: int(tag["version"]) for name, tag in tags.items()}
