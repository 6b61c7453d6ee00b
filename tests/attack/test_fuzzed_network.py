"""A collection from servers that lie some hundred times; `make soak` has thousands."""

from __future__ import annotations

from pathlib import Path

from .network import fuzz_replies


def test_a_whole_collection_from_lying_servers_ends_well(tmp_path: Path) -> None:
    tally = fuzz_replies(tmp_path, 200)
    assert tally.count >= 200
    assert not tally.bad
