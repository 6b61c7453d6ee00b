"""What Lance and the file system raise becomes a `StoreError` that says what to do.

Lance says that something is wrong, and not where: which file is damaged is asked when reading fails.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lance
from lance.file import LanceFileReader

from soar.errors import StoreError


@contextmanager
def explaining(action: str, uri: str) -> Iterator[None]:
    """Explain any failure to `action` ("read", "append to", …) the store at `uri`."""
    try:
        yield
    except (OSError, ValueError) as error:
        broken = [] if _by_the_system(error) else broken_files(uri)
        why = f"{broken[0]}. Restore it from a copy" if broken else reason(error)
        raise StoreError(f"cannot {action} the episode store {uri}: {why}") from error


def reason(error: OSError | ValueError) -> str:
    """Return what went wrong in the words of the operating system, and what to do."""
    text, code = str(error), _by_the_system(error)
    if code is not None:
        why = os.strerror(code)
        return f"{why}. Nothing that was stored is changed. Free some space, or choose a folder that you may write to."
    if "was not found" in text:
        return "it, or the version that was asked for, does not exist."
    return first_sentence(error)


def similar(id: str, ids: list[str]) -> str:
    """Return the question whether a similar id was meant, nothing if there is none."""
    close = difflib.get_close_matches(id, ids, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _by_the_system(error: OSError | ValueError) -> int | None:
    """Return the number of the operating system's error, None for any other."""
    number = re.search(r"os error (\d+)", str(error))
    return int(number.group(1)) if number else getattr(error, "errno", None)


def first_sentence(error: Exception) -> str:
    """Return Lance's message without its prefix and the places in its own source code."""
    text = re.sub(r",? (?:location: )?/\S+\.rs:\d+:\d+", "", str(error))
    text = text.removeprefix("Invalid user input: ")
    return text.split(" Valid fields are")[0].rstrip(". ")


def broken_files(uri: str) -> list[str]:
    """Return what is wrong with which files of a local store, as words; nothing where everything can be opened."""
    if "://" in uri:
        return []
    found: list[str] = []
    for table in ("steps", "episodes"):
        folder = Path(uri) / f"{table}.lance"
        try:
            dataset = lance.dataset(str(folder))
        except (OSError, ValueError):
            # The newest one has the least number. A folder without any is no table that was damaged, but none.
            newest = min((folder / "_versions").glob("*.manifest"), default=None)
            found += [f"{newest} cannot be read ({newest.stat().st_size} bytes)"] if newest else []
            continue
        # A fragment with deletions has one more file, which names what is deleted.
        parts = (part for fragment in dataset.get_fragments() for part in (*fragment.data_files(), fragment.deletion_file()))
        paths = (folder / "data" / part.path if hasattr(part, "path") else folder / part for part in parts if part is not None)
        found += [problem for path in paths if (problem := _problem(path))]
    return found


def _problem(path: Path) -> str | None:
    if not path.exists():
        return f"{path} is missing"
    if not path.stat().st_size:
        # Lance's reader does not survive such a file.
        return f"{path} is empty"
    if path.suffix != ".lance":
        return None
    try:
        reader: Any = LanceFileReader(str(path))
        reader.metadata()
    except (OSError, ValueError):
        return f"{path} is truncated or damaged ({path.stat().st_size} bytes)"
    return None
