"""Lay out the pages of the documentation site: those in docs/, those elsewhere in the repository, and those made from the code.

The repository's root is mapped onto the root of the site: README.md is its first page, and a link from docs/ to
../results/figure5.svg leads to a copy in results/. Run by `make docs`:

    python scripts/site_pages.py build/docs
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import error_messages
import reference_pages

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docker/README.md"]
PAGES += sorted(str(page.relative_to(ROOT)) for page in ROOT.glob("examples/*/README.md"))
LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")


def moved(target: str, page: Path) -> tuple[str, Path | None]:
    """Return where a link of a page leads on the site, and the file of the repository that it leads to, if it is one."""
    if re.match(r"[a-z]+:", target):
        return target, None
    file = (page.parent / target).resolve()
    place = on_site(file)
    here = PurePosixPath(on_site(page)).parent
    return os.path.relpath(place, here), file


def on_site(file: Path) -> str:
    """Return the path on the site of a file of the repository."""
    if file == ROOT / "README.md":
        return "index.md"
    return str(file.relative_to(DOCS if file.is_relative_to(DOCS) else ROOT).as_posix())


def rewritten(text: str, page: Path) -> str:
    """Return a page whose links lead to places on the site."""
    return LINK.sub(lambda found: f"{found[1]}{moved(found[2], page)[0]}{found[3]}", text)


def documents() -> list[Path]:
    """Return the Markdown files of the repository that the site shows."""
    return [*(ROOT / name for name in PAGES), *sorted(DOCS.rglob("*.md"))]


def needed() -> Iterator[Path]:
    """Files to which a page links: pictures, notebooks, examples."""
    yield from (DOCS / "images").iterdir()
    for page in documents():
        for _, target, _ in LINK.findall(page.read_text(encoding="utf-8")):
            file = moved(target, page)[1]
            if file is not None and file.is_file() and file.suffix != ".md":
                yield file


def lay_out(folder: Path) -> None:
    """Write all pages and pictures of the site to `folder`/pages, and its configuration beside them."""
    shutil.rmtree(folder, ignore_errors=True)
    pages = folder / "pages"
    texts = {on_site(page): rewritten(page.read_text(encoding="utf-8"), page) for page in documents()}
    texts |= reference_pages.pages()
    texts["reference/errors.md"] = error_messages.page()
    for place, text in texts.items():
        (pages / place).parent.mkdir(parents=True, exist_ok=True)
        (pages / place).write_text(text, encoding="utf-8")
    for file in set(needed()):
        (pages / on_site(file)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, pages / on_site(file))
    shutil.copyfile(DOCS / "zensical.toml", folder / "zensical.toml")


if __name__ == "__main__":
    lay_out(Path(sys.argv[1]))
