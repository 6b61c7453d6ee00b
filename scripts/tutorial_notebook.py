"""The tutorial as a notebook: docs/tutorial.md is the source of both, so that no sentence of it is written twice.

    python scripts/tutorial_notebook.py

writes docs/notebooks/tutorial.ipynb; `make tables` does, and a test compares the two. What becomes of the page:

    ```bash … ```                     a cell that runs its commands
    <!-- picture: FILE --> ![…](…)    a cell that shows the file that the commands before it made, in place of the page's
    <!-- page --> … <!-- /page -->    left out
    anything else                     a cell of text, whose links lead to where they led
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PAGE, NOTEBOOK = ROOT / "docs" / "tutorial.md", ROOT / "docs" / "notebooks" / "tutorial.ipynb"
LINK = re.compile(r"(\]\()(?![a-z]+:|#)([^)\s]+\))")
PIECE = re.compile(
    r"<!-- page -->\n.*?<!-- /page -->\n|"
    r"```bash\n(?P<commands>.*?)```\n|"
    r"<!-- picture: (?P<picture>\S+) -->\n!\[[^\n]*\n",
    re.DOTALL,
)
FIRST = """import os
from pathlib import Path

from PIL import Image

# All that follows happens in the folder of the clone.
os.chdir(next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "src/soar/weights").is_dir()))"""


def cells(page: str) -> list[tuple[str, str]]:
    """Return kind (`markdown` or `code`) and source of each cell of the notebook of a page."""
    found, text, begin = [], "", 0
    for piece in PIECE.finditer(page):
        text += page[begin : piece.start()]
        begin = piece.end()
        if piece["commands"] or piece["picture"]:
            found += _told(text)
            text = ""
            commands = "\n".join(f"!{line}" for line in (piece["commands"] or "").splitlines())
            found.append(("code", commands or f'Image.open("{piece["picture"]}")'))
    found += _told(text + page[begin:])
    found.insert(1, ("code", FIRST))
    return found


def _told(text: str) -> list[tuple[str, str]]:
    return [("markdown", LINK.sub(r"\1../\2", text.strip()))] if text.strip() else []


def notebook(page: str) -> str:
    """Return the notebook of a page, as the text of its file."""
    made: list[dict[str, Any]] = []
    for number, (kind, source) in enumerate(cells(page)):
        cell: dict[str, Any] = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}, "source": source.splitlines(True)}
        made.append(cell | ({"execution_count": None, "outputs": []} if kind == "code" else {}))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    whole = {"cells": made, "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}}}
    return json.dumps(whole | {"nbformat": 4, "nbformat_minor": 5}, indent=1, ensure_ascii=False) + "\n"


def main() -> int:
    """Write the notebook."""
    NOTEBOOK.write_text(notebook(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
