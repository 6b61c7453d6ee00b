"""A few hundred hostile requests and replies; `make soak` has thousands."""

from __future__ import annotations

from pathlib import Path

import pytest

from .network import fuzz_replies, fuzz_requests
from .server_process import server_process

pytestmark = pytest.mark.timeout(600)


def test_no_request_is_an_error_of_a_server() -> None:
    with server_process("policy") as server:
        assert not fuzz_requests(server, 300).bad


def test_a_whole_collection_from_lying_servers_ends_well(tmp_path: Path) -> None:
    tally = fuzz_replies(tmp_path, 300)
    assert tally.count >= 300
    assert not tally.bad
