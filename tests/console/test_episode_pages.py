"""The list, the player and the downloads, over HTTP; and that nothing in the data does harm."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from soar.console.pictures import placeholder, shown, thumbnail
from soar.console.sources import open_sources
from soar.episodes import EpisodeStore, jpeg
from soar.episodes.encoded import encode
from soar.episodes.tags import set_tag
from soar.errors import ConfigError
from soar.types import Label, Provenance
from tests.console.building import TASKS, Client, console, episode, make_run

SCRIPT = "<script>alert(1)</script>\"'>{{ 7 * 7 }}"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("episodes"), 60)


@pytest.fixture(scope="module")
def client(run: Path) -> Iterator[Client]:
    with console(run) as url:
        yield Client(url)


def shown_ids(text: str) -> list[str]:
    return [part.partition('"')[0] for part in text.split('class="card" href="/s/run/episode?id=')[1:]]


def test_the_newest_episodes_come_first_a_page_at_a_time(client: Client) -> None:
    first, second = client.page("/s/run/episodes"), client.page("/s/run/episodes", page=2)
    ids = shown_ids(first) + shown_ids(second)
    assert ids == [f"run-000-arm-{number % 2}-{number:05d}" for number in range(59, -1, -1)]
    assert "60 of 60 episodes" in first
    assert 'href="?page=2"' in first
    assert shown_ids(client.page("/s/run/episodes", order="oldest"))[0] == "run-000-arm-0-00000"
    assert shown_ids(client.page("/s/run/episodes", page=99)) == shown_ids(second)


def test_filters_choose_as_the_store_itself_does(client: Client, run: Path) -> None:
    store = EpisodeStore(run / "episodes")
    for query, where in (
        ({"task": TASKS[1]}, f"instruction = '{TASKS[1]}'"),
        ({"robot": "arm-1", "verdict": "success"}, "robot = 'arm-1' AND success"),
        ({"verdict": "undecided"}, "success IS NULL"),
        ({"verdict": "failure", "least": "0.2", "most": "0.4"}, "NOT success AND probability >= 0.2 AND probability <= 0.4"),
        ({"policy": "gcbc-1"}, "policy = 'gcbc-1'"),
        ({"where": "length > 3 or success"}, "length > 3 or success"),
        ({"since": "2000-01-01", "until": "2000-01-01"}, "created_s < 0"),
    ):
        assert f"{store.count(where)} of 60 episodes" in client.page("/s/run/episodes", **query)
    assert client.page("/s/run/episodes", verdict="success").count("selected") == 1


def test_a_filter_that_is_none_is_explained(client: Client) -> None:
    for query, why in (
        ({"where": "nonsense = 3"}, "invalid filter"),
        ({"where": "success) or (true"}, "invalid filter"),
        ({"least": "2"}, "lies between 0 and 1"),
        ({"since": "yesterday"}, "is no day or time"),
        ({"verdict": "maybe"}, "choose one of success, failure, undecided"),
    ):
        answer = client.get("/s/run/episodes", **query)
        assert answer.status_code == 400
        assert why in answer.text
    assert client.get("/s/run/episodes", page="-1", unknown="x").status_code == 200


def test_sql_from_a_page_takes_no_memory_that_nobody_has(client: Client) -> None:
    for where in (
        "length(repeat(instruction, 1000000000)) > 0",
        "'x' = \"repeat\"('x', 1000000000)",
        "`repeat`('x', 9) = 'x'",
        "re/**/peat('x', 9) = 'x'",
        "repeat -- \n('x', 9) = 'x'",
        "E'\\'' = repeat('x', 9) OR 'a' = 'a'",
        "$$'$$ = repeat('x', 9) OR 'a' = 'a'",
        "lpad('x', 1000000000) = 'x'",
    ):
        answer = client.get("/s/run/episodes", where=where)
        assert answer.status_code == 400, where
        assert "has no place in a filter here" in answer.text
        assert client.get("/s/run/download/rlds", where=where).status_code == 409
    for where in (
        "lower(instruction) LIKE '%drawer%'",
        "instruction <> 'repeat(x, 9)' AND (robot IN ('arm-0') OR NOT (length > 3))",
    ):
        assert client.get("/s/run/episodes", where=where).status_code == 200


@pytest.mark.parametrize(
    "address",
    [
        f"frame/{10**30}/0/0",
        f"frame/1/{10**30}/0",
        f"frame/1/-{10**30}/{10**30}",
        f"thumb/{10**30}/{10**30}/{10**30}",
        "thumb/-1/-1/-1",
        "subgoal/-1?id=x",
        f"subgoal/{10**30}?id=x",
        "episode?id=%00",
        "episode?id='; drop table episodes",
        "compare?a=&b=",
        f"episodes?page={10**30}",
        "episodes?least=nan&most=inf",
        "episodes?since=9999999999-01-01",
        "episodes?where=%00",
        "episodes?task=%F0%28%8C%28",
        "calibration?threshold=nan",
        "episodes?since=0001-01-01&until=9999-12-31",
        "download/rerun?id=../../etc/passwd",
    ],
)
def test_no_address_breaks_the_console(client: Client, address: str) -> None:
    for accept in ("text/html", "application/json"):
        assert client.http.get(f"/s/run/{address}", headers={"Accept": accept}).status_code < 500
    assert client.get("/health").status_code == 200


def test_the_player_shows_frames_subgoals_curves_and_who_said_what(client: Client, run: Path) -> None:
    id = "run-000-arm-1-00001"
    store = EpisodeStore(run / "episodes")
    record = store.episodes(f"id = '{id}'")[0]
    text = client.page("/s/run/episode", id=id)
    for part in (TASKS[1], 'data-length="12"', 'data-subgoals="0,6"', "gripper position", "vqa-1:", "polyline", id):
        assert part in text
    frames = f"/s/run/frame/{record.attempt}/{record.first_row}"
    stored = store.read_encoded(id)
    assert [client.get(f"{frames}/{step}").content for step in (0, 12)] == [stored.frames[0], stored.frames[12]]
    assert client.get("/s/run/subgoal/1", id=id).content == stored.subgoals[1][1]
    assert client.get("/s/run/subgoal/2", id=id).status_code == 404
    assert client.get(f"{frames}/99").content == placeholder()
    small = client.get(f"/s/run/thumb/{record.attempt}/{record.first_row}/12")
    assert simplejpeg.decode_jpeg_header(small.content)[:2] == (112, 226)
    assert "immutable" in small.headers["cache-control"]
    assert client.get("/s/run/episode", id="nobody").status_code == 404
    both = client.page("/s/run/compare", a=id, b="run-000-arm-0-00000")
    assert both.count('class="card player"') == 2


def test_an_episode_is_laid_beside_another_one_of_its_task(client: Client, run: Path) -> None:
    records = EpisodeStore(run / "episodes").episodes()
    mine = records[0]
    page = client.page("/s/run/episode", id=mine.id)
    for name, verdict in (("success", True), ("failure", False), ("undecided", None)):
        same = [one for one in records[1:] if one.instruction == mine.instruction and one.success is verdict]
        assert f'href="/s/run/compare?a={mine.id}&amp;b={same[-1].id}">{name}</a>' in page
    assert client.page("/s/run/compare", a=mine.id, b=same[-1].id).count("<h1>") == 2


def test_episodes_can_be_taken_along(client: Client) -> None:
    id = "run-000-arm-1-00001"
    for format, part in (("lerobot", "meta/info.json"), ("rlds", "dataset_info.json")):
        answer = client.get(f"/s/run/download/{format}", id=id)
        assert answer.status_code == 200, answer.text
        names = zipfile.ZipFile(io.BytesIO(answer.content)).namelist()
        assert any(name.endswith(part) for name in names), names
    assert client.get("/s/run/download/rerun", id=id).content.startswith(b"RRF")
    assert client.get("/s/run/download/lerobot", where="false").status_code == 422
    assert client.get("/s/run/download/exe", id=id).status_code == 422


def test_what_comes_from_data_is_shown_and_never_run(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path / "s" / "episodes", mode="create")
    made = episode(0)
    bad = replace(
        made,
        id=f"../../{SCRIPT}",
        instruction=SCRIPT,
        scene=SCRIPT,
        labels=(Label(success=True, probability=0.5, source=SCRIPT, question=SCRIPT, answer=SCRIPT, time_s=1.0),),
        provenance=Provenance(policy=SCRIPT, robot="../..", run=SCRIPT, faults=(SCRIPT,)),
    )
    store.append(bad)
    with console(tmp_path / "s") as url:
        client = Client(url)
        for path, query in (
            ("/s/s/episodes", {}),
            ("/s/s/episodes", {"task": SCRIPT, "where": f"'{SCRIPT}'", "robot": SCRIPT}),
            ("/s/s/episode", {"id": bad.id}),
            ("/s/s/compare", {"a": bad.id, "b": bad.id}),
            ("/s/s/episode", {"id": SCRIPT}),
            ("/s/s/run", {}),
            ("/s/s/calibration", {}),
            ("/enter", {"to": f"/{SCRIPT}"}),
        ):
            text = client.http.get(path, params=query, headers={"Accept": "text/html"}).text
            assert "<script>alert" not in text
            assert "49" not in text.split("alert(1)")[-1][:60]
        assert "&lt;script&gt;" in client.page("/s/s/episodes")
        assert client.get("/static/..%2faccess.py").status_code == 404
        assert client.get("/s/..%2f..%2fetc/episodes").status_code == 404


def test_pictures_that_would_choke_a_browser_are_not_shown(tmp_path: Path) -> None:
    small = jpeg.encode(np.zeros((16, 16, 3), np.uint8))
    at = small.index(b"\xff\xc0") + 5
    giant = small[:at] + (60_000).to_bytes(2) * 2 + small[at + 4 :]
    assert jpeg.size(giant) == (60_000, 60_000)
    assert shown(giant) == shown(b"no jpeg") == shown(None) == placeholder()
    assert shown(small) is small
    assert simplejpeg.decode_jpeg_header(thumbnail([giant, small]))[:2] == (112, 226)


def test_read_only_stores_stay_as_they_are(tmp_path: Path) -> None:
    run = make_run(tmp_path, 4)
    store = EpisodeStore(run / "episodes")
    set_tag(store.uri, "paper", store.version)
    files = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    with console(f"{store.uri}@paper") as url:
        client = Client(url)
        name = next(iter(open_sources([f"{store.uri}@paper"])))
        assert "4 of 4 episodes" in client.page(f"/s/{name}/episodes")
        assert "read-only" in client.page(f"/s/{name}/audit")
        refused = client.post(f"/s/{name}/labels", who="ada", id="run-000-arm-0-00000", verdict="y")
        assert refused.status_code == 409
        assert "read-only" in refused.text
        client.page(f"/s/{name}/episode", id="run-000-arm-0-00000")
        client.get(f"/s/{name}/download/rlds", id="run-000-arm-0-00000")
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()} == files


def test_several_runs_have_names_of_their_own_and_what_is_none_is_refused(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name, 1) for name in ("a", "b")]
    with console(*runs, runs[0] / "episodes") as url:
        home = Client(url).page("/")
        assert all(f'href="/s/{name}' in home for name in ("run/", "run-2/", "run-episodes/"))
    (tmp_path / "empty").mkdir()
    for names, why in (
        ([], "name a run or a store"),
        ([str(tmp_path / "empty")], "neither a run"),
        ([str(tmp_path / "no")], "no such run or store"),
    ):
        with pytest.raises(ConfigError, match=why):
            open_sources(names)
    assert open_sources([str(tmp_path / "later")], wait=True)["later"].browser is None


def test_episodes_that_come_while_the_console_is_open_are_there(tmp_path: Path) -> None:
    run = make_run(tmp_path, 2)
    with console(run) as url:
        client = Client(url)
        assert "2 of 2 episodes" in client.page("/s/run/episodes")
        EpisodeStore(run / "episodes").append(encode(episode(7)))
        assert "3 of 3 episodes" in client.page("/s/run/episodes")
