"""The folders of a store's two tables: created once, checked whenever they are opened."""

from __future__ import annotations

import errno
import re
import tempfile
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa

from soar.episodes import schema
from soar.episodes.explaining import explaining
from soar.errors import StoreError

_TABLES = {"steps": schema.STEPS, "episodes": schema.EPISODES}


def path(uri: str, table: str) -> str:
    """Return where a table of the store at `uri` is."""
    return f"{uri.rstrip('/')}/{table}.lance"


def create(uri: str, *, exist_ok: bool) -> None:
    """Create the tables that are missing.

    Another process may be doing the same, and Lance would let the slower one empty the table of the faster one. So each
    table is made aside and renamed, which fails when the table is there already.

    Raises:
        StoreError: The folder holds something else, or a store and not `exist_ok`, or cannot be written.
    """
    if not _is_local(uri):
        raise StoreError(f"{uri}: a store can only be created in a local folder; create it there and copy it")
    folder = Path(uri)
    made = 0
    with explaining("create", uri):
        folder.mkdir(parents=True, exist_ok=True)
        # Hidden entries are what another process is just making.
        visible = [entry.name for entry in folder.iterdir() if not entry.name.startswith(".")]
        if visible and not any(f"{table}.lance" in visible for table in _TABLES):
            raise StoreError(f"{uri} is not empty and not an episode store; choose an empty folder or a new one")
        for table, columns in _TABLES.items():
            if Path(path(uri, table)).exists():
                continue
            with tempfile.TemporaryDirectory(prefix=".", dir=folder) as aside:
                fresh = f"{aside}/{table}.lance"
                # Stable row ids keep the order of insertion through updates and compaction.
                lance.write_dataset(columns.empty_table(), fresh, schema=columns, enable_stable_row_ids=True)
                try:
                    Path(fresh).rename(path(uri, table))
                    made += 1
                except OSError as error:
                    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                        raise
    if not made and not exist_ok:
        raise StoreError(f"{uri} already holds an episode store; open it with mode='open', or choose another folder")


def check_exist(uri: str) -> None:
    """Say clearly when there is no store.

    Raises:
        StoreError: Nothing is there, or something else.
    """
    if not _is_local(uri):
        return
    if not Path(uri).exists():
        raise StoreError(f"no episode store at {uri}; `soar collect` makes one, as does mode='create'")
    missing = [f"{table}.lance" for table in _TABLES if not Path(path(uri, table)).is_dir()]
    if missing:
        raise StoreError(f"{uri} is not an episode store ({' and '.join(missing)} missing); pass the folder that holds them")


def open_table(uri: str, table: str, version: int | None) -> Any:
    """Open one table, at a version or at the newest.

    Raises:
        StoreError: It cannot be read, SOAR did not write it, or a newer SOAR did.
    """
    where = path(uri, table)
    with explaining("open", uri):
        dataset = lance.dataset(where, version=version)
    found = (dataset.schema.metadata or {}).get(schema.VERSION_KEY, b"").decode()
    if not re.fullmatch(r"\d+\.\d+", found):
        raise StoreError(f"{where} is a Lance table that SOAR did not write; pass the folder of an episode store")
    if int(found.split(".")[0]) != schema.VERSION[0]:
        raise StoreError(
            f"{where} has format {found}, this SOAR reads format {schema.VERSION[0]}.x; install the SOAR that wrote it"
        )
    return dataset


def writable_schema(dataset: Any) -> pa.Schema:
    """Return the columns that this SOAR writes into a table: those of its own format that the table has."""
    columns: pa.Schema = schema.EPISODES
    return pa.schema([field for field in columns if field.name in dataset.schema.names], metadata=columns.metadata)


def add_missing_columns(dataset: Any) -> None:
    """Give an `episodes` table of an older minor format the columns that came later; its rows have null there."""
    for field in schema.EPISODES:
        if field.name not in dataset.schema.names:
            dataset.add_columns(field)


def _is_local(uri: str) -> bool:
    return "://" not in uri
