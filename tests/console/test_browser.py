"""What people do in the console, in a real browser. Skipped where there is none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from soar.collect.live import LiveView
from soar.episodes import EpisodeStore
from soar.evaluation.dialogue import PageDialogue
from soar.event_log import read_journal
from soar.fleet.robot_lock import robot_process
from soar.tasks.off_limits import OffLimits
from soar.types import Label
from tests.collect.test_live import step
from tests.console.browsing import in_browser, until
from tests.console.building import TOKENS, console, episode, make_run
from tests.fleet.test_fleet import Lab
from tests.fleet.test_orders import begun, bench
from tests.fleet.test_orders import until as until_there
from tests.interrupts import heard

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = in_browser
SCRIPT = "<img src=x onerror=alert(1)><script>alert(1)</script>"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """The folder of a fleet of two robots that stand here."""
    made = Lab(tmp_path, [f"console-{side}-{os.getpid()}" for side in ("left", "right")])
    yield made
    for process in made.processes:
        process.kill()
        process.wait()
    for name in made.names:
        if (pid := robot_process(name)) is not None:
            os.kill(pid, signal.SIGKILL)


OTHER = "before => { const id = document.querySelector('#audit').dataset.id; return id && id !== before }"
ALL = "/^30 judged/.test(document.querySelector('#count').textContent) && document.querySelectorAll('#history li').length === 6"


def test_thirty_episodes_are_judged_by_keys_and_are_in_the_store(
    tmp_path: Path, enter: Callable[..., Page], wrong: list[str]
) -> None:
    run = make_run(tmp_path, 34)
    with console(run) as url:
        page = enter(url, "/s/run/audit", role="labeller")
        page.fill("input[data-who]", "ada")
        page.click("text=Begin")
        judged: list[str] = []
        for number in range(30):
            until(page, OTHER, arg=judged[-1] if judged else "")
            judged.append(str(page.get_attribute("#audit", "data-id")))
            page.keyboard.press("ynu"[number % 3])
        until(page, ALL)
        records = {record.id: record for record in EpisodeStore(run / "episodes").episodes()}
        assert len(set(judged)) == 30
        assert [records[id].success for id in judged] == [True, False, None] * 10
        assert all(records[id].labels[-1].source == "person:ada" for id in judged)
        page.keyboard.press("z")
        page.wait_for_selector("text=taken back")
        assert len(EpisodeStore(run / "episodes").episodes(f"id = '{judged[-1]}'")[0].labels) == 1
    assert wrong == []


def test_a_live_run_of_two_robots_is_watched_paused_and_resumed(lab: Lab, enter: Callable[..., Page], wrong: list[str]) -> None:
    lab.write(episodes=100_000)
    lab.up()
    lab.until(lambda state: all(robot["stored"] for robot in state["robots"]))
    with console(lab.run) as url:
        page = enter(url, "/s/run/live")
        until(page, "document.querySelectorAll('#robots .robot img.camera[src^=data]').length === 4")
        assert sorted(page.locator("#robots .name").all_inner_texts()) == sorted(lab.names)
        before = [page.locator("#robots img.camera").first.get_attribute("src")]
        until(page, "before => document.querySelector('#robots img.camera').src !== before", arg=before[0])
        page.fill("#fleet input[data-who]", "ada")
        page.click("text=Pause all")
        until(page, "[...document.querySelectorAll('#fleet td.does')].every(cell => cell.textContent === 'paused')")
        page.locator("#fleet button", has_text="resume").first.focus()
        for _ in range(2):  # what is drawn anew leaves somebody who came by keyboard where they are
            with page.expect_response(lambda answer: answer.url.endswith("/fleet")):
                pass
        assert page.evaluate("document.activeElement.textContent") == "resume"
        page.keyboard.press("Enter")
        until(page, "[...document.querySelectorAll('#fleet td.does')].some(cell => cell.textContent === 'collecting')")
    orders = [(event["do"], event["by"]) for event in read_journal(lab.run / "events.jsonl", "ordered")]
    assert orders == [("pause", "ada"), ("resume", "ada")]
    assert lab.soar("stop", "run").wait() == 0
    assert wrong == []


def test_one_robots_run_is_paused_and_resumed(tmp_path: Path, enter: Callable[..., Page], wrong: list[str]) -> None:
    bench(tmp_path)
    run, process = tmp_path / "run", begun(tmp_path, 100_000)
    try:
        with console(run, wait=True) as url:
            until_there(lambda: read_journal(run / "events.jsonl", "episode"), lambda: process.poll() is None)
            page = enter(url, "/s/run/live")
            page.wait_for_selector("#fleet .words:has-text('At work.')")
            page.fill("#fleet input[data-who]", "ada")
            page.click("text=Pause all")
            page.wait_for_selector("#fleet .words:has-text('Paused by ada since')")
            until(page, "document.querySelector('#robots .does').textContent === 'paused by ada'")
            until(page, "document.querySelector('#phase .words').textContent.includes('paused by ada')")
            episodes = len(read_journal(run / "events.jsonl", "proposal"))
            page.get_by_role("button", name="Resume all").press("Enter")  # by keyboard
            until(page, "['acts', 'judged', 'goes home'].includes(document.querySelector('#robots .does').textContent)")
            page.wait_for_selector("#fleet .words:has-text('At work.')")
            assert len(read_journal(run / "events.jsonl", "proposal")) > episodes
            page.click("text=Stop all")
            process.wait(120)
    finally:
        process.kill()
        _, said = process.communicate()
    assert "error: stopped by ada:" in said
    assert process.returncode == 2
    orders = [(event["do"], event["by"]) for event in read_journal(run / "events.jsonl", "ordered")]
    assert orders == [("pause", "ada"), ("resume", "ada"), ("stop", "ada")]
    assert wrong == ["dialog: End the command after what is under way? It goes on when it is run again."]


def test_a_console_that_is_killed_and_started_again_has_its_pages_back(
    tmp_path: Path, enter: Callable[..., Page], wrong: list[str]
) -> None:
    run = make_run(tmp_path, 1)
    view = LiveView(run / "live", "bench")
    view(step(1))

    def start(port: str) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "soar.cli", "console", str(run), "--port", port],
            env=os.environ | {"SOAR_CONSOLE_TOKEN": TOKENS["operator"]},
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=heard,  # noqa: PLW1509 - see there
        )
        assert process.stdout is not None
        return process, process.stdout.readline().strip().removeprefix("open ").partition("/enter")[0]

    process, url = start("0")
    try:
        page = enter(url, "/s/run/live")
        page.wait_for_selector("#robots .robot")
        process.send_signal(signal.SIGKILL)
        process.wait()
        page.wait_for_selector("text=robots go on without it")
        view(step(2))
        process, again = start(url.rpartition(":")[2])
        assert again == url
        until(page, "/step 2/.test(document.querySelector('#robots .step').textContent)")
        assert page.locator("#state").inner_text() == ""
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
    finally:
        process.kill()
        process.wait()
    assert wrong == []


def test_nothing_in_the_data_runs_in_a_page(tmp_path: Path, enter: Callable[..., Page], wrong: list[str]) -> None:
    run = make_run(tmp_path, 2)
    label = Label(success=None, probability=None, source=SCRIPT, question=SCRIPT, answer=SCRIPT, time_s=1.0)
    store = EpisodeStore(run / "episodes")
    store.append(replace(episode(9), id=SCRIPT, instruction=SCRIPT, scene=SCRIPT, labels=(label,)))
    view = LiveView(run / "live", SCRIPT)
    view(step(1))
    with console(run) as url:
        page = enter(url, "/s/run/audit")
        page.fill("input[data-who]", SCRIPT)
        page.click("text=Begin")
        page.wait_for_selector(f"text={SCRIPT[:8]}")
        page.keyboard.press("y")
        until(page, "/^1 judged/.test(document.querySelector('#count').textContent)")
        for address in ("live", "run", "episodes", "calibration"):
            page.goto(f"{url}/s/run/{address}")
        page.goto(f"{url}/s/run/live")
        assert page.locator("#robots .name").inner_text() == SCRIPT
        page.goto(f"{url}/s/run/episodes?verdict=success&task={SCRIPT}")
        page.locator(".grid a").first.click()
        assert page.locator("h1").inner_text() == SCRIPT
    assert wrong == []


def test_a_frozen_report_opens_from_a_file_and_loads_nothing(tmp_path: Path, browser: Browser) -> None:
    from soar.console.freezing import freeze
    from soar.console.sources import open_sources

    run = make_run(tmp_path, 8)
    freeze(open_sources([str(run)])["run"], tmp_path / "report.html")
    page = browser.new_page()
    page.set_default_timeout(600_000)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"file://{tmp_path / 'report.html'}")
    assert page.locator("h2", has_text="Episodes").count() == 1
    assert [address for address in asked if not address.startswith(("file:", "data:"))] == []
    assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0 || !image.checkVisibility())")
    page.close()


def test_the_player_plays_and_shows_two_episodes_on_one_time_line(
    tmp_path: Path, enter: Callable[..., Page], wrong: list[str]
) -> None:
    run = make_run(tmp_path, 2)
    with console(run) as url:
        page = enter(url, "/s/run/compare?a=run-000-arm-0-00000%26b=run-000-arm-1-00001")
        page.goto(f"{url}/s/run/compare?a=run-000-arm-0-00000&b=run-000-arm-1-00001")
        assert page.locator(".at").all_inner_texts() == ["step 0 of 12, 0.0 s"] * 2
        for _ in range(7):
            page.keyboard.press("ArrowRight")
        assert page.locator(".at").all_inner_texts() == ["step 7 of 12, 1.4 s"] * 2
        assert str(page.locator("img.camera").first.get_attribute("src")).endswith("/7")
        assert "/subgoal/1?" in str(page.locator("img.goal").first.get_attribute("src"))
        assert page.locator("line.cursor").first.get_attribute("x1") == "350"
        until(page, "location.search.endsWith('&step=7')")  # the address is that of what is seen
        page.reload()
        assert page.locator(".at").all_inner_texts() == ["step 7 of 12, 1.4 s"] * 2
        page.select_option("#speed", "5")
        page.keyboard.press("Escape")
        page.click("#play")
        until(page, "document.querySelector('.at').textContent.startsWith('step 12')")
    assert wrong == []


def test_a_task_is_set_off_limits_and_allowed_again(tmp_path: Path, enter: Callable[..., Page], wrong: list[str]) -> None:
    run = make_run(tmp_path, 3)
    limits = OffLimits(run)
    with console(run) as url:
        assert enter(url, "/s/run/run", role="labeller").locator("#limits").count() == 0
        page = enter(url, "/s/run/run")
        page.fill("#limits input[name=task]", "open the drawer")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=Say who you are first")
        assert limits.now() == frozenset()
        page.keyboard.type("ada")  # that is where it put whoever writes
        page.keyboard.press("Enter")
        page.wait_for_selector("#forbidden li")
        assert limits.now() == {"open the drawer"}
        page.fill("#limits input[name=task]", SCRIPT)
        page.click("text=Set off limits")
        until(page, "document.querySelectorAll('#forbidden li').length === 2")
        page.reload()
        assert page.locator("b", has_text="off limits").count() == 1  # in the table, too
        page.locator("#forbidden li", has_text="open the drawer").get_by_role("button").press("Enter")
        until(page, "document.querySelectorAll('#forbidden li').length === 1")
        page.locator("#forbidden button").click()
        until(page, "document.querySelectorAll('#forbidden li').length === 0")
    assert limits.now() == frozenset()
    orders = [(event["do"], event["task"], event["by"]) for event in read_journal(run / "events.jsonl", "ordered")]
    assert orders == [(what, task, "ada") for what in ("set off limits", "allow") for task in ("open the drawer", SCRIPT)]
    assert wrong == []


def test_the_page_about_a_run_goes_on_with_it_and_leaves_alone_who_reads(
    tmp_path: Path, enter: Callable[..., Page], wrong: list[str]
) -> None:
    run = make_run(tmp_path, 3)
    with console(run) as url:
        page = enter(url)
        page.clock.install()
        page.goto(f"{url}/s/run/run")
        assert page.locator("h3", has_text="over 3 episodes").count() == 1
        EpisodeStore(run / "episodes").append(episode(7))
        page.locator("summary", has_text="In words").first.click()
        page.clock.run_for(61_000)
        assert page.locator("h3", has_text="over 3 episodes").count() == 1
        page.locator("summary", has_text="In words").first.click()
        page.evaluate("document.activeElement.blur()")
        page.clock.run_for(61_000)
        page.wait_for_selector("h3:has-text('over 4 episodes')")
    assert wrong == []


def test_two_people_who_label_at_once_get_different_episodes(
    tmp_path: Path, enter: Callable[..., Page], wrong: list[str]
) -> None:
    run = make_run(tmp_path, 8)
    with console(run) as url:
        people = {name: enter(url, "/s/run/audit", role="labeller") for name in ("ada", "bob")}
        said: dict[str, list[str]] = {name: [] for name in people}
        for name, page in people.items():
            page.fill("input[data-who]", name)
            page.click("text=Begin")
        for _ in range(3):
            for name, page in people.items():
                until(page, OTHER, arg=said[name][-1] if said[name] else "")
                said[name].append(str(page.get_attribute("#audit", "data-id")))
            for page in people.values():
                page.keyboard.press("y")
        for page in people.values():
            until(page, "/^3 judged/.test(document.querySelector('#count').textContent)")
    assert not set(said["ada"]) & set(said["bob"])
    for name, ids in said.items():
        for record in EpisodeStore(run / "episodes").episodes():
            if record.id in ids:
                assert [label.source for label in record.labels] == ["vqa-1", f"person:{name}"]
    assert wrong == []


def test_a_trial_is_judged_on_its_page_by_keys_with_a_remark(
    tmp_path: Path, enter: Callable[..., Page], wrong: list[str]
) -> None:
    run = make_run(tmp_path, 1)
    (run / "evaluations").mkdir()
    dialogue, said = PageDialogue(run / "evaluations" / "mine.json"), list[tuple[str, str]]()
    image = episode(0).images_THWC[0]
    asking = threading.Thread(
        target=lambda: said.append(dialogue.ask_and_hear(image, "Did it work?", ["y", "n", "u"])), daemon=True
    )
    asking.start()
    with console(run) as url:
        assert enter(url, "/s/run/dialogue", role="viewer").locator("#asked section").count() == 0
        page = enter(url, "/s/run/dialogue", role="labeller")
        page.wait_for_selector("text=Did it work?")
        assert page.evaluate("document.querySelector('#asked img').naturalWidth") == 48
        page.fill("input.remark", "only just: no yes")  # keys that are typed judge nothing
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press("y")
        asking.join()
        page.wait_for_selector("text=it worked, only just")
    assert said == [("y", "only just: no yes")]
    assert wrong == []
