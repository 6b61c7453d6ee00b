from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rerun.chunk import RrdReader

from soar.cli import main
from soar.cli.pictures import read_picture
from soar.episodes import EpisodeStore
from soar.reports.video import contact_sheet, heading
from soar.types import Label, Subgoal
from tests.episodes.builders import make_episode
from tests.formats.datasets import store_of_three


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    return store_of_three(tmp_path / "store", size=64)


def chunks(path: Path) -> dict[str, list[dict[str, list[object]]]]:
    """What a recording holds, by entity."""
    found: dict[str, list[dict[str, list[object]]]] = {}
    for chunk in RrdReader(path).stream():
        found.setdefault(chunk.entity_path, []).append(chunk.to_record_batch().to_pydict())
    return found


def column(rows: list[dict[str, list[object]]], name: str) -> list[object]:
    return [value for row in rows for key, values in row.items() if key == name or key.endswith(name) for value in values]


def test_a_recording_holds_the_episode_on_one_time_line(tmp_path: Path, store: EpisodeStore) -> None:
    out = tmp_path / "a.rrd"
    assert main(["data", "view", store.uri, "--episodes", "run-a", "--save", str(out)]) == 0
    episode, found = store.read_encoded("run-a"), chunks(out)
    assert column(found["/camera"], "step") == list(range(6))
    assert [time.total_seconds() for time in column(found["/camera"], "time")] == pytest.approx(np.arange(6) * 0.2)  # type: ignore[attr-defined]
    jpegs = column(found["/camera"], "EncodedImage:blob")
    assert [bytes(np.array(blob, np.uint8).ravel()) for blob in jpegs] == list(episode.frames)
    assert column(found["/subgoal"], "step") == [0, 2]
    assert column(found["/state/x"], "Scalars:scalars") == [[float(value)] for value in episode.states_TD[:, 0]]
    assert column(found["/action/gripper"], "Scalars:scalars") == [[float(value)] for value in episode.actions_TD[:, 6]]
    assert column(found["/labels"], "step") == [5]
    assert "vqa-1: success, p = 0.90" in str(column(found["/labels"], "TextLog:text"))
    assert "put the green block in the wooden bowl" in str(column(found["/about"], "TextDocument:text"))


def test_several_episodes_become_several_files(
    tmp_path: Path, store: EpisodeStore, fails: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "view", store.uri, "--count", "2", "--save", str(tmp_path / "out")]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["demo it's.rrd", "run-b.rrd"]
    capsys.readouterr()
    assert "one file, and there are 2 episodes" in fails("data", "view", store.uri, "--count", 2, "--save", tmp_path / "x.rrd")
    assert "did you mean 'run-a'" in fails("data", "view", store.uri, "--episodes", "run_a", "--save", tmp_path / "x.rrd")
    assert not (tmp_path / "x.rrd").exists()


def test_a_contact_sheet_has_a_row_a_subgoal() -> None:
    episode = make_episode(steps=10, size=64)
    goals = tuple(Subgoal(step=step, image_HWC=np.full((64, 64, 3), step * 20, np.uint8)) for step in (0, 4, 7))
    sheet = contact_sheet(make_episode(steps=10, size=64, subgoals=goals), columns=4)
    cell, gap, band = 256, 4, 34
    assert sheet.size == (5 * (cell + gap) - gap, 3 * band + 3 * (cell + band))
    assert np.asarray(sheet)[: 3 * band].std(1).mean() > 1, "a heading of three lines"
    pixels = np.asarray(sheet)[3 * band :]
    for row, goal in enumerate(goals):
        top = row * (cell + band) + band
        assert (pixels[top : top + cell, :cell] == goal.image_HWC[0, 0]).all()
        np.testing.assert_array_equal(pixels[top, cell + gap], episode.images_THWC[goal.step][0, 0])
    last = pixels[2 * (cell + band) + band, 4 * (cell + gap)]
    np.testing.assert_array_equal(last, episode.images_THWC[10][0, 0])


def test_a_contact_sheet_says_what_was_asked_whether_it_worked_and_which_episode_it_is() -> None:
    truth = Label(success=False, probability=None, source="simulator")
    episode = make_episode("run-a", size=64, labels=(Label(success=True, probability=0.934, source="vqa-1"), truth))
    verdict = "success as judged by vqa-1, probability 0.93; in truth failure"
    assert heading(episode) == (episode.instruction, verdict, "run-a")
    assert heading(make_episode("b", instruction="", labels=())) == ("no instruction", "not judged", "b")
    long = make_episode("c", size=64, instruction="put " + "the very long spoon " * 20, labels=())
    assert contact_sheet(long, columns=2).height > contact_sheet(episode, columns=2).height


def test_contact_sheets_are_written_as_png(tmp_path: Path, store: EpisodeStore, fails: Callable[..., str]) -> None:
    picture = tmp_path / "sheet.png"
    assert main(["data", "contact-sheet", store.uri, "--episodes", "run-a", "--out", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert read_picture(picture).shape[0] == 3 * 34 + 2 * 290
    assert main(["data", "contact-sheet", store.uri, "--where", "success is null", "--out", str(tmp_path / "sheets")]) == 0
    assert [path.name for path in (tmp_path / "sheets").iterdir()] == ["demo it's.png"]


def test_a_row_of_one_frame_is_no_row(tmp_path: Path, store: EpisodeStore, fails: Callable[..., str]) -> None:
    assert "2 or more" in fails("data", "contact-sheet", store.uri, "--out", tmp_path / "a.png", "--columns", 1)


def test_episodes_whose_ids_give_one_name_get_files_of_their_own(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path / "names", mode="create")
    store.append([make_episode(id, size=32, seed=number) for number, id in enumerate(("a/b", "a_b"))])
    assert main(["data", "contact-sheet", store.uri, "--count", "2", "--out", str(tmp_path / "sheets")]) == 0
    assert sorted(path.name for path in (tmp_path / "sheets").iterdir()) == ["a_b-1.png", "a_b.png"]
