"""SQL filters over the episodes: read whole, or refused.

Lance takes a filter for the end of a statement and drops what follows its condition: whatever comes after a bracket too many, a
`;`, a `limit`, or a forgotten `and`. A filter that was cut off selects more than was asked for. So each one is planned a second
time with a column behind it that no table has: only if that column is missed has everything before it been read.
"""

from __future__ import annotations

from typing import Any

from soar.episodes import schema
from soar.episodes.store_errors import first_sentence
from soar.errors import StoreError

_MISSED = "soar_has_no_such_column"


def check_filter(episodes: Any, where: str) -> None:
    """Refuse a filter that Lance does not understand, or not to its end.

    Args:
        episodes: The open table.
        where: The SQL.

    Raises:
        StoreError: The message names the columns.
    """
    if (problem := _problem(episodes, where)) is not None:
        raise StoreError(f"invalid filter {where!r}: {problem}. Columns: {', '.join(schema.METADATA_COLUMNS)}.")
    # On a line of its own: a comment ends with its line.
    if f"No field named {_MISSED}" not in (_problem(episodes, f"{where}\nAND {_MISSED}") or ""):
        raise StoreError(
            f"invalid filter {where!r}: only its beginning is a condition, and what follows would be left out. Look for a "
            "bracket too many, a missing `and` or `or`, or for `;`, `limit` or `order by`, which have no place in a filter. "
            f"Columns: {', '.join(schema.METADATA_COLUMNS)}."
        )


def quoted(text: str) -> str:
    """Return a text as SQL has it, for filters."""
    return "'" + text.replace("'", "''") + "'"


def _problem(episodes: Any, where: str) -> str | None:
    """Return why Lance cannot plan to read what matches; None when it can."""
    try:
        episodes.scanner(columns=["attempt"], filter=where).explain_plan()
    except ValueError as error:
        if "Invalid user input" not in str(error):
            raise
        return first_sentence(error)
    return None
