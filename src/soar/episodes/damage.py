"""Which file of a store is damaged, asked when reading it fails: Lance says that something is wrong, and not where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lance
from lance.file import LanceFileReader


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
