"""The console in a real browser: Debian's chromium, driven by Playwright. Skipped where there is no browser.

`CONSOLE_PICTURES=FOLDER` keeps a picture of each page there, of the run in `CONSOLE_RUN` if that is set: those of the docs.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image as Pillow

from soar.collect.live import LiveView
from soar.episodes import EpisodeStore
from soar.event_log import read_journal
from soar.fleet.robot_lock import robot_process
from soar.types import Label
from tests.collect.test_live import step
from tests.console.building import TOKENS, console, episode, make_run
from tests.fleet.test_fleet import Lab
from tests.interrupts import heard

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
pytestmark = pytest.mark.skipif(not BROWSER, reason="no browser is installed: apt-get install chromium")
SCRIPT = "<img src=x onerror=alert(1)><script>alert(1)</script>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make setup")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=BROWSER, chromium_sandbox=os.getuid() != 0)
        yield started
        started.close()


@pytest.fixture
def wrong() -> list[str]:
    """What pages complained about: scripts that failed, and what the content policy kept away."""
    return []


@pytest.fixture
def enter(browser: Browser, wrong: list[str]) -> Iterator[Callable[..., Page]]:
    """Open a console as somebody who follows the address that `soar console` shows."""
    contexts = []

    def open_console(url: str, to: str = "", role: str = "operator", token: str = "", **how: Any) -> Page:
        context = browser.new_context(**how)
        context.set_default_timeout(120_000)  # a machine that is shared may be slow
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if "Content Security Policy" in said.text else None)
        page.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.accept()))
        page.goto(f"{url}/enter?to={to or '/'}#{token or TOKENS[role]}")
        page.wait_for_url(lambda address: "/enter" not in address)
        return page

    yield open_console
    for context in contexts:
        context.close()


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
        page.locator("#fleet button", has_text="resume").first.click()
        until(page, "[...document.querySelectorAll('#fleet td.does')].some(cell => cell.textContent === 'collecting')")
    orders = [(event["do"], event["by"]) for event in read_journal(lab.run / "events.jsonl", "ordered")]
    assert orders == [("pause", "ada"), ("resume", "ada")]
    assert lab.soar("stop", "run").wait(60) == 0
    assert wrong == []


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
        assert process.wait(20) == 130
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


def until(page: Page, script: str, arg: object = None, most_s: float = 120.0) -> None:
    """Wait until a script says so; pages themselves may evaluate nothing, as their content policy says."""
    deadline_s = time.monotonic() + most_s
    while not page.evaluate(script, arg):
        assert time.monotonic() < deadline_s, script
        page.wait_for_timeout(40)


def film(page: Page, path: Path, frames: int = 24) -> None:
    """Keep what a page shows for some seconds, smaller."""
    shots = []
    for _ in range(frames):
        shot = Pillow.open(io.BytesIO(page.screenshot())).convert("RGB")
        shots.append(shot.resize((shot.width * 3 // 5, shot.height * 3 // 5), Pillow.Resampling.LANCZOS))
        page.wait_for_timeout(200)
    shots[0].save(path, save_all=True, append_images=shots[1:], duration=250, loop=0, quality=55, method=4)


PAGES = {"live": "live", "run": "run", "episodes": "episodes", "audit": "audit", "judge": "calibration", "trials": "dialogue"}


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that somebody has audited."""
    run = make_run(tmp_path_factory.mktemp("audited"), 200, audited=True, size=16, steps=2)
    return run.rename(run.with_name("audited"))


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (400, "light")])
def test_every_page_fits_has_no_complaint_and_is_kept_as_a_picture(
    tmp_path: Path, judged: Path, enter: Callable[..., Page], wrong: list[str], width: int, scheme: str
) -> None:
    run = Path(os.environ["CONSOLE_RUN"]) if os.environ.get("CONSOLE_RUN") else make_run(tmp_path, 40, size=128)
    pictures = Path(os.environ["CONSOLE_PICTURES"]) if os.environ.get("CONSOLE_PICTURES") else None
    if not os.environ.get("CONSOLE_RUN"):
        for robot in ("bench-1", "bench-2"):
            LiveView(run / "live", robot)(step(7, 128))
    name = run.name
    with console(run, judged) as url:
        page = enter(url, role="labeller", viewport={"width": width, "height": 800}, color_scheme=scheme)
        page.evaluate("localStorage.setItem('soar-who', 'ada')")
        first = page.goto(f"{url}/s/{name}/episodes")
        assert first is not None
        addresses = PAGES | {"episode": str(page.locator(".grid a").first.get_attribute("href")).rpartition("/")[2]}
        for title, address in addresses.items():
            page.goto(f"{url}/s/{judged.name if title == 'judge' else name}/{address}", wait_until="load")
            if title == "audit":
                until(page, "document.querySelector('#after').complete && document.querySelector('#audit').dataset.id")
            if title == "live":
                page.wait_for_selector("#robots .robot")
            overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert overflow <= 0, f"{title} is wider than {width} px"
            unnamed = page.evaluate(
                "[...document.querySelectorAll('img:not([alt]), button:empty, input:not([type=hidden])')]"
                ".filter(e => e.tagName !== 'INPUT' || !(e.labels && e.labels.length) && !e.getAttribute('aria-label')).length"
            )
            assert unnamed == 0, f"{title} has something without a name"
            if pictures is not None:
                pictures.mkdir(parents=True, exist_ok=True)
                page.screenshot(path=pictures / f"console-{title}-{width}-{scheme}.png")
                if (title, width, scheme) == ("live", 1280, "light"):
                    film(page, pictures / "console-live.webp")
    assert wrong == []


def test_a_frozen_report_opens_from_a_file_and_loads_nothing(tmp_path: Path, browser: Browser) -> None:
    from soar.console.freezing import freeze
    from soar.console.sources import open_sources

    run = make_run(tmp_path, 8)
    freeze(open_sources([str(run)])["run"], tmp_path / "report.html")
    page = browser.new_page()
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
        page.select_option("#speed", "5")
        page.keyboard.press("Escape")
        page.click("#play")
        until(page, "document.querySelector('.at').textContent.startsWith('step 12')")
    assert wrong == []
