from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soar.errors import SoarError
from soar.event_log import Journal, read_journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "events.jsonl"


def test_events_come_back_in_order_with_their_times(path: Path) -> None:
    clock = iter([1.0, 2.5])
    journal = Journal(path, clock=lambda: next(clock))
    journal.append("fault", kind="motor")
    journal.append("proposal", instruction="open the drawer")
    first, second = read_journal(path)
    assert (first["event"], first["kind"], first["time_s"]) == ("fault", "motor", 1.0)
    assert second["time_s"] == 2.5
    assert read_journal(path, "fault") == [first]


def test_a_missing_journal_has_no_events(path: Path) -> None:
    assert read_journal(path) == []


@given(cut=st.integers(1, 60))
def test_a_line_torn_anywhere_loses_only_itself(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("journal") / "events.jsonl"
    journal = Journal(path, clock=lambda: 1.0)
    journal.append("before")
    journal.append("torn", detail="a line that is long enough to be cut at any of sixty places")
    path.write_bytes(path.read_bytes()[:-cut])
    whole = 2 if cut == 1 else 1  # only the end of the line is gone: the event is complete
    assert [entry["event"] for entry in read_journal(path)] == ["before", "torn"][:whole]
    journal.append("after")
    assert [entry["event"] for entry in read_journal(path)] == [*["before", "torn"][:whole], "after"]


def test_a_newer_schema_is_refused(path: Path) -> None:
    Journal(path).append("fault")
    with path.open("a") as file:
        file.write(json.dumps({"schema": 2, "event": "fault"}) + "\n")
    with pytest.raises(SoarError, match="line 2 is not an event of schema 1"):
        read_journal(path)


_FULL_DISK = """
import resource, sys
from pathlib import Path
from soar.event_log import Journal
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
Journal(Path(sys.argv[1])).append_all([("episode", {"number": number, "text": "x" * 400}) for number in range(9)])
"""


def test_an_append_that_a_full_disk_ends_leaves_none_of_its_events(path: Path) -> None:
    Journal(path).append("before")
    done = subprocess.run([sys.executable, "-c", _FULL_DISK, str(path)], capture_output=True, text=True, check=False)
    assert "cannot write the journal" in done.stderr
    Journal(path).append("after")
    assert [event["event"] for event in read_journal(path)] == ["before", "after"]
    assert path.read_bytes().count(b"\n") == 2


def test_a_journal_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SoarError, match=r"cannot write the journal .*file/events\.jsonl"):
        Journal(tmp_path / "file" / "events.jsonl").append("fault")
