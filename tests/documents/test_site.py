"""What the documentation site is made of: pages that are reachable, links that lead somewhere, one number of the release."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import soar
from tests.documents.blocks import ROOT

NAVIGATION = tomllib.loads((ROOT / "docs" / "zensical.toml").read_text(encoding="utf-8"))["project"]["nav"]
MADE = {f"reference/{name}.md" for name in ("commands", "presets", "protocols", "files", "errors")}


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script that lays the pages out."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import site_pages

    return site_pages


def places(entries: list[dict[str, Any]]) -> Iterator[str]:
    """Return the pages of a part of the navigation."""
    for entry in entries:
        for inner in entry.values():
            if isinstance(inner, str):
                yield inner
            else:
                yield from places(inner)


def test_every_page_is_in_the_navigation_once(site: ModuleType) -> None:
    shown = list(places(NAVIGATION))
    assert len(shown) == len(set(shown))
    assert set(shown) - MADE == {site.on_site(page) for page in site.documents()}


def test_a_link_leads_to_a_page_or_to_a_file_that_the_site_has(site: ModuleType) -> None:
    there = {*site.documents(), *site.needed()}
    for page in site.documents():
        for _, target, _ in site.LINK.findall(page.read_text(encoding="utf-8")):
            file = site.moved(target, page)[1]
            assert file is None or file in there, f"{page.relative_to(ROOT)}: {target}"


def test_a_release_has_one_number() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert project["version"] == soar.__version__ == cited["version"]


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "how-to").glob("*.md")), ids=lambda page: page.stem)
def test_the_readme_names_every_how_to(page: Path) -> None:
    assert f"(docs/how-to/{page.name})" in (ROOT / "README.md").read_text(encoding="utf-8")
