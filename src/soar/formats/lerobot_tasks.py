"""Tasks of a LeRobotDataset: their texts by index, from either version's file, and what an episode's rows say of them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from soar.errors import FormatError
from soar.formats.texts import Spoken, spoken, text_of
from soar.untrusted import parse_json

_log = logging.getLogger(__name__)
_INDEX = "__index_level_0__"
_NAMES = ("task", "tasks", "task_text", "instruction", "language_instruction")


def tasks_of_table(table: pa.Table, path: Path) -> dict[int, str]:
    """Return the tasks of `meta/tasks.parquet`; their texts are the frame's index, or a column that is called so.

    Raises:
        FormatError: There is no column of indices, or none of texts, or several that nothing tells apart.
    """
    texts = [name for name in table.column_names if _is_text(table[name].type)]
    index = _pandas_index(table)
    known = [name for name in (*index, _INDEX, *_NAMES) if name in texts]
    column = known[0] if known else texts[0] if len(texts) == 1 else None
    if "task_index" not in table.column_names or column is None:
        raise FormatError(
            f"{path} must have a column task_index, and the tasks as its index or in a column `task`; it has "
            f"{table.column_names}"
        )
    return _by_index(zip(table["task_index"].to_pylist(), table[column].to_pylist(), strict=True), path)


def tasks_of_lines(lines: Iterable[dict[str, Any]], path: Path) -> dict[int, str]:
    """Return the tasks of `meta/tasks.jsonl`.

    Raises:
        FormatError: An index is no number or stands there twice, or a text is none.
    """
    return _by_index(((entry["task_index"], entry["task"]) for entry in lines), path)


def instructions(table: pa.Table, tasks: dict[int, str], place: str) -> Spoken:
    """Return the instructions of an episode, with the step at which each begins; a step without an index has none.

    Raises:
        FormatError: There is no task of an index.
    """
    if "task_index" not in table.column_names:
        return ()
    column = [index[0] if isinstance(index, list) and index else index for index in table["task_index"].to_pylist()]
    odd = next((index for index in column if not isinstance(index, int | float | None)), None)
    if odd is not None:
        raise FormatError(f"{place}: task_index must be the number of a task in meta/, it is {odd!r}")
    unknown = sorted({index for index in column if index is not None and index >= 0} - set(tasks))
    if unknown:
        there = f"{min(tasks)} to {max(tasks)}" if tasks else "none"
        raise FormatError(
            f"{place}: task_index is {unknown[0]}, and the tasks in meta/ are {there} ({len(tasks)}); restore the file of tasks"
        )
    return spoken([tasks.get(index, "") for index in column])


def check_listed(said: Spoken, listed: Any, tasks: dict[int, str], place: str) -> None:
    """Refuse an episode whose rows are of another task than the list of episodes says.

    Only tasks that the file of tasks has are compared: a task that was given another text since is still the same one.

    Args:
        said: The instructions of its rows.
        listed: Its `tasks` in the list of episodes; None where it does not say.
        tasks: All of the dataset, by index.
        place: The episode, for messages.

    Raises:
        FormatError: The two have no task in common.
    """
    texts = {text for _, text in said}
    known = {text for text in listed_texts(listed, place) if text in tasks.values()}
    if texts and known and texts.isdisjoint(known):
        raise FormatError(
            f"{place}: its rows say by task_index that its task is {_quoted(texts)}, and `tasks` in meta/episodes that it is "
            f"{_quoted(known)}; which one it is cannot be told. Restore one of them, or remove `tasks` to go by the rows"
        )
    if texts and known and texts != known:
        _log.warning(
            "%s: its rows say that its tasks are %s, and meta/episodes %s; the rows count",
            place,
            _quoted(texts),
            _quoted(known),
        )


def say_other_texts(folder: Path, rows: Sequence[dict[str, Any]], tasks: Mapping[int, str]) -> None:
    """Say once where the list of episodes calls tasks by texts that the file of tasks does not have."""
    listed = {text for row in rows for text in listed_texts(row.get("tasks"), f"{folder} episode {row['episode_index']}")}
    if other := sorted(listed - set(tasks.values())):
        _log.warning(
            "%s: `tasks` in meta/episodes has %d texts that the file of tasks lacks, for example %r; the file of tasks counts",
            folder,
            len(other),
            other[0],
        )


def listed_texts(listed: Any, place: str) -> list[str]:
    """Return the texts of an entry `tasks` of the list of episodes.

    Raises:
        FormatError: One of them is no text.
    """
    entries = [listed] if isinstance(listed, str) else listed if isinstance(listed, list) else []
    return [text for entry in entries if (text := text_of(entry, f"{place}, tasks in meta/episodes"))]


def _quoted(texts: Iterable[str]) -> str:
    return ", ".join(map(repr, sorted(texts)))


def _by_index(found: Iterable[tuple[Any, Any]], path: Path) -> dict[int, str]:
    tasks: dict[int, str] = {}
    for index, value in found:
        if not isinstance(index, int):
            raise FormatError(f"{path}: task_index must be a number, it is {index!r}")
        text = text_of(value, f"{path}, task {index}")
        if tasks.setdefault(index, text) != text:
            raise FormatError(f"{path}: task {index} is both {tasks[index]!r} and {text!r}")
    return tasks


def _pandas_index(table: pa.Table) -> list[str]:
    """Return the columns that were the index of the frame that was written."""
    try:
        columns = parse_json((table.schema.metadata or {}).get(b"pandas", b"{}")).get("index_columns", [])
    except ValueError:
        return []
    return [name for name in columns if isinstance(name, str)]


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
