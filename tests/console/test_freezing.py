"""A run's pages as one file: what is in it, how large it may be, and what it does without."""

from __future__ import annotations

import base64
import io
import os
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image as Pillow

from soar.cli import main
from soar.console import freezing
from soar.console.freezing import freeze
from soar.console.sources import open_sources
from soar.episodes import EpisodeStore
from soar.episodes.encoded import encode
from soar.errors import SoarError
from tests.absent import without
from tests.console.building import Client, console, episode, make_run

ROOT = Path(__file__).parent.parent.parent


class Balanced(HTMLParser):
    """Notes what a page loads and leads to, and fails where tags do not nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]
        if tag not in ("meta", "img", "br", "link", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Shapes of a drawing."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def frozen(run: Path) -> str:
    """The text of a report, which is whole and needs nothing else."""
    freeze(next(iter(open_sources([str(run)]).values())), run.parent / "report.html")
    text = (run.parent / "report.html").read_text(encoding="utf-8")
    parser = Balanced()
    parser.feed(text)
    assert parser.open == []
    assert {address.partition(",")[0] for address in parser.loaded if not address.startswith("#")} <= {
        "data:image/jpeg;base64",
        "data:image/webp;base64",
    }
    assert "<script" not in text
    assert not re.search(r"url\(|@import", text)
    return text


def test_the_command_writes_one_file_without_scripts_that_loads_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path, 9, audited=True)
    EpisodeStore(run / "episodes").append(replace(episode(70), instruction="<script>alert(1)</script>"))
    out = tmp_path / "out.html"
    assert main(["console", str(run), "--freeze", str(out)]) == 0
    assert capsys.readouterr().out == f"report: {out}\n"
    text = frozen(run)
    for part in (
        "&lt;script&gt;",
        "Judged success over 10 episodes",
        "Candidate 1 is promoted",
        "gripper position",
        "prefers-color-scheme: dark",
        "default-src 'none'; style-src 'sha256-",
        "the judge was right about",
    ):
        assert part in text
    assert text.count("<summary>Clip") == 10


def test_the_report_says_what_the_pages_say(tmp_path: Path) -> None:
    run = make_run(tmp_path, 12, audited=True)
    said = frozen(run)
    with console(run) as url:
        for address in ("run", "calibration"):
            page = Client(url).page(f"/s/run/{address}")
            body = page.partition("<main")[2].partition("</main>")[0]
            for part in re.findall(r"<(?:h3|td|dt|dd|figcaption)>([^<]+)</", body):
                assert part in said, part


def test_pictures_take_no_more_room_than_is_allowed_and_who_has_no_clip_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path, 40)
    monkeypatch.setattr(freezing, "MOST_BYTES", 100_000)
    text = frozen(run)
    shown = re.findall(r'src="(data:[^"]+)"', text)
    assert sum(map(len, shown)) <= 100_000
    clips, cards = text.count("<summary>Clip"), text.count('alt="first and last frame"')
    assert 0 < clips < cards
    assert f"{cards - clips} of them have no clip" in text


def test_of_each_verdict_and_task_some_are_shown(tmp_path: Path) -> None:
    text = frozen(make_run(tmp_path, 90, size=16, steps=2))
    for verdict in ("success", "failure", "undecided"):
        assert text.count(f'class="v v-{verdict}"') == 8


def test_pictures_that_would_choke_a_reader_are_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path, 1)
    made = encode(episode(7))
    at = made.frames[3].index(b"\xff\xc0") + 5
    giant = made.frames[3][:at] + (60_000).to_bytes(2) * 2 + made.frames[3][at + 4 :]
    EpisodeStore(run / "episodes").append(replace(made, frames=(*made.frames[:3], giant, *made.frames[4:])), checked=True)
    text = frozen(run)
    assert text.count("<summary>Clip") == 1
    assert text.count('alt="first and last frame"') == 2


def test_large_pictures_are_made_smaller(tmp_path: Path) -> None:
    text = frozen(make_run(tmp_path, 1, size=480, steps=2))
    (clip,) = re.findall(r'src="data:image/webp;base64,([^"]+)" alt="clip', text)
    assert Pillow.open(io.BytesIO(base64.b64decode(clip))).size == (2 * 320 + 4, 320)


def test_a_run_that_has_only_begun_can_be_frozen(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "events.jsonl").touch()
    assert "There are no episodes yet" in frozen(tmp_path / "run")


def test_a_report_is_written_where_nothing_that_serves_is_installed(tmp_path: Path) -> None:
    run = make_run(tmp_path, 2)
    script = without({"fastapi", "uvicorn", "starlette"}) + "from soar.cli import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-c", script, "console", str(run)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    report = subprocess.run([*words, "--freeze", str(tmp_path / "a.html")], env=environment, capture_output=True, check=False)
    assert (report.returncode, report.stderr) == (0, b"")
    assert (tmp_path / "a.html").stat().st_size > 10_000
    served = subprocess.run(words, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert served.returncode == 2
    assert "pip install 'soar-robot[console]'" in served.stderr


def test_a_report_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (source,) = open_sources([str(make_run(tmp_path, 1))]).values()
    (tmp_path / "file").touch()
    with pytest.raises(SoarError, match="cannot write"):
        freeze(source, tmp_path / "file" / "report.html")
