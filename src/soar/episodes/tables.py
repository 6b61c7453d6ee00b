"""The two tables of a store: created once, checked whenever they are opened.

A store is a local folder, or a place in an object store that Lance knows: `s3://BUCKET/PATH`, `gs://…`, `az://…`. Who may go
there, and where it is, comes from the environment: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT`
(another server than Amazon's), `AWS_ALLOW_HTTP=true` (one without TLS).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa

from soar.episodes import schema
from soar.episodes.store_errors import explaining
from soar.errors import StoreError

_CACHE_BYTES = 2**24
"""Of what Lance remembers of a table. By default it is a gigabyte, and every version that was ever looked at stays."""
_TRIES = 20
"""How often a change is tried when another process changes the same at the same moment."""
_TABLES = {"steps": schema.STEPS, "episodes": schema.EPISODES}


def location(uri: str | Path) -> str:
    """Return where a store is. A `Path` made of `s3://bucket/x` has lost one of the two slashes; it gets it back."""
    return re.sub(r"^([a-z][a-z0-9+.-]+):/+", r"\1://", str(uri)).rstrip("/") or "/"


def path(uri: str, table: str) -> str:
    """Return where a table of the store at `uri` is."""
    return f"{location(uri)}/{table}.lance"


def create(uri: str, *, exist_ok: bool) -> None:
    """Create the tables that are missing.

    Several processes may be doing the same. The first version of a table is committed by one of them only: the others fail, and
    find it.

    Raises:
        StoreError: The folder holds something else, or a store and not `exist_ok`, or cannot be written.
    """
    made = 0
    with explaining("create", uri):
        if is_local(uri):
            folder = Path(uri)
            folder.mkdir(parents=True, exist_ok=True)
            names = [entry.name for entry in folder.iterdir() if not entry.name.startswith(".")]
            if names and not any(f"{table}.lance" in names for table in _TABLES):
                raise StoreError(f"{uri} is not empty and not an episode store; choose an empty folder or a new one")
        for table, columns in _TABLES.items():
            where = path(uri, table)
            if _exists(where):
                continue
            try:
                # Stable row ids keep the order of insertion through updates and compaction. One that loses the race must not
                # try again: Lance would take that for the wish to replace the table.
                lance.LanceDataset.commit(
                    where, lance.LanceOperation.Overwrite(columns, []), max_retries=0, enable_stable_row_ids=True
                )
                made += 1
            except OSError:
                if not _exists(where):
                    raise
    if not made and not exist_ok:
        raise StoreError(f"{uri} already holds an episode store; open it with mode='open', or choose another folder")


def exist(uri: str | Path) -> bool:
    """Whether there is a store, or what is left of one; makes nothing."""
    where = location(uri)
    with explaining("open", where):
        return any(Path(path(where, table)).is_dir() if is_local(where) else _exists(path(where, table)) for table in _TABLES)


def complete(uri: str | Path) -> bool:
    """Whether a store was made to its end. `create` makes the table of episodes last: without it there are none yet."""
    where = location(uri)
    with explaining("open", where):
        return _exists(path(where, "episodes"))


def check_exist(uri: str) -> None:
    """Say clearly when there is no store.

    Raises:
        StoreError: Nothing is there, or something else.
    """
    local = is_local(uri)
    with explaining("open", uri):
        missing = [
            f"{table}.lance"
            for table in _TABLES
            if not (Path(path(uri, table)).is_dir() if local else _exists(path(uri, table)))
        ]
    if not Path(uri).exists() if local else len(missing) == len(_TABLES):
        raise StoreError(f"no episode store at {uri}; `soar collect` makes one, as does mode='create'")
    if missing:
        raise StoreError(f"{uri} is not an episode store ({' and '.join(missing)} missing); pass the folder that holds them")


def open_table(uri: str, table: str, version: int | None) -> Any:
    """Open one table, at a version or at the newest.

    Raises:
        StoreError: It cannot be read, SOAR did not write it, or a newer SOAR did.
    """
    where = path(uri, table)
    with explaining("open", uri):
        dataset = lance.dataset(
            where, version=version, index_cache_size_bytes=_CACHE_BYTES, metadata_cache_size_bytes=_CACHE_BYTES
        )
    found = (dataset.schema.metadata or {}).get(schema.VERSION_KEY, b"").decode()
    if not re.fullmatch(r"\d+\.\d+", found):
        raise StoreError(f"{where} is a Lance table that SOAR did not write; pass the folder of an episode store")
    if int(found.split(".")[0]) != schema.VERSION[0]:
        raise StoreError(
            f"{where} has format {found}, this SOAR reads format {schema.VERSION[0]}.x; install the SOAR that wrote it"
        )
    return dataset


def writable_schema(dataset: Any, columns: pa.Schema) -> pa.Schema:
    """Return the columns that this SOAR writes into a table: those of its own format (`columns`) that the table has."""
    there = set(dataset.schema.names)
    return pa.schema([field for field in columns if field.name in there], metadata=columns.metadata)


def with_all_columns(dataset: lance.LanceDataset, columns: pa.Schema) -> lance.LanceDataset:
    """Return a handle to a table of an older minor format that now has the columns which came later; its rows have null there.

    Others may be giving it the same ones.
    """
    for attempt in range(1, _TRIES + 1):
        dataset = newest(dataset)
        missing = [field for field in columns if field.name not in dataset.schema.names]
        if not missing:
            break
        try:
            for field in missing:
                dataset.add_columns(field)
            break
        except (OSError, ValueError):
            if attempt == _TRIES:
                raise
    return dataset


def compact(dataset: lance.LanceDataset, large_rows: int | None) -> None:
    """Merge the small files of a table: those with fewer rows than `large_rows`, or than Lance finds large."""
    for attempt in range(1, _TRIES + 1):
        try:
            newest(dataset).optimize.compact_files(target_rows_per_fragment=large_rows)
            return
        except OSError as error:
            if "Retryable commit conflict" not in str(error) or attempt == _TRIES:
                raise


def is_local(uri: str) -> bool:
    """Return whether a store is a folder of this machine."""
    return "://" not in location(uri)


def _exists(where: str) -> bool:
    try:
        lance.dataset(where)
    except ValueError as error:
        # So Lance says that nothing is there; a server that cannot be asked is another matter.
        if "was not found" in str(error):
            return False
        raise
    return True


def newest(dataset: lance.LanceDataset) -> lance.LanceDataset:
    """Return a handle of its own that looks at the newest state; others may be reading with `dataset`, which stays as it is."""
    return dataset.checkout_version(dataset.latest_version)
