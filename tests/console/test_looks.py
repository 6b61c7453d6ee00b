"""How the console looks, in a real browser: each page fits, stands out, works by keyboard. Skipped where there is none.

`CONSOLE_PICTURES=docs/images` keeps the pictures of the docs there, of the run in `CONSOLE_RUN` if that is set.
"""

from __future__ import annotations

import io
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Literal

import pytest
from PIL import Image as Pillow

from soar.collect.listeners import Event
from soar.collect.live import LiveView
from soar.console.freezing import freeze
from soar.console.sources import open_sources
from soar.episodes import EpisodeStore
from soar.evaluation.dialogue import PageDialogue
from soar.types import Label
from soar.vlm.base import Answer
from tests.collect.test_live import step
from tests.console.browsing import in_browser, until
from tests.console.building import console, make_run
from tests.console.test_findings import AFTER, BEFORE, CONTROL, improved

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = in_browser
LOOKS = Path(__file__).with_name("looks.js").read_text(encoding="utf-8")
RUN = os.environ.get("CONSOLE_RUN", "")
PICTURES = os.environ.get("CONSOLE_PICTURES", "")
KEPT = {("live", 400, "light"), ("audit", 400, "light"), ("run", 1280, "dark")}
"""Pictures of the docs, besides those of every page at 1280 px in light."""
LOOKED_AT: tuple[tuple[int, Literal["light", "dark"]], ...] = (
    (400, "light"),
    (3840, "dark"),
    (1280, "dark"),
    (1280, "light"),
)
"""Widths [px] and schemes of every page; the keyboard is tried at the last of them."""
PAGES = {
    "live": "s/{run}/live",
    "run": "s/{run}/run",
    "episodes": "s/{run}/episodes",
    "audit": "s/{run}/audit",
    "judge": "s/{audited}/calibration",
    "trials": "s/{run}/dialogue",
    "episode": "s/{run}/episode?id={a}",
    "compare": "s/{run}/compare?a={a}&b={b}",
    "home": "",
    "wrong": "s/{run}/episode?id=none",
    "enter": "enter",
    "report": "file://{report}",
}
CANDIDATES = (
    "[...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary')]"
    ".filter(e => !e.disabled && e.checkVisibility())"
)
LOADED = "[...document.images].every(i => i.complete || i.getBoundingClientRect().top > innerHeight || !i.checkVisibility())"
NAMES = "[...document.querySelectorAll('#evaluations td')].map(e => getComputedStyle(e, '::before').content)"
LISTEN = """() => {
  window.reached = new Set();
  window.unseen = [];
  document.addEventListener("focusin", ({ target }) => {
    const style = getComputedStyle(target);
    window.reached.add(target);
    if (style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2) window.unseen.push(target.outerHTML.slice(0, 80));
  });
}"""


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that somebody has audited."""
    run = make_run(tmp_path_factory.mktemp("audited"), 200, audited=True, size=16, steps=2)
    return run.rename(run.with_name("audited"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two robots that are at work."""
    if RUN:
        return Path(RUN)
    made = make_run(tmp_path_factory.mktemp("looks"), 40, size=128)
    for robot in ("bench-1", "bench-2"):
        LiveView(made / "live", robot)(step(7, 128))
    return made


@pytest.fixture(scope="module")
def report(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run frozen into a file."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    freeze(next(iter(open_sources([str(run)]).values())), path)
    return path


@contextmanager
def asked(run: Path) -> Iterator[None]:
    """An evaluation asks a person, until it is answered."""
    (run / "evaluations").mkdir(exist_ok=True)
    dialogue = PageDialogue(run / "evaluations" / "mine.json")
    store = EpisodeStore(run / "episodes")
    image = store.read(store.episodes()[-1].id).images_THWC[0]
    dialogue.say("Trial 3 of 20: put the table back as in the picture.")
    asking = threading.Thread(target=lambda: dialogue.ask(image, "Is it as in the picture?", ["g", "p", "q"]), daemon=True)
    asking.start()
    try:
        yield
    finally:
        asking.join(60)
        dialogue.close()
    assert not asking.is_alive()


def by_keyboard(page: Page) -> None:
    """Everything that can be used is reached by Tab, and is seen to be."""
    page.evaluate(LISTEN)
    for _ in range(4 * int(page.evaluate(f"{CANDIDATES}.length")) // 10 + 4):
        for _ in range(10):
            page.keyboard.press("Tab")
        if page.evaluate(f"{CANDIDATES}.every(e => window.reached.has(e))"):
            break
    left = page.evaluate(f"{CANDIDATES}.filter(e => !window.reached.has(e)).map(e => e.outerHTML.slice(0, 80))")
    assert left == []
    assert page.evaluate("window.unseen") == []


def keep(page: Page, title: str, width: int, scheme: str) -> None:
    """Keep a picture for the docs."""
    plain = (width, scheme) == (1280, "light")
    if not PICTURES or not (plain or (title, width, scheme) in KEPT):
        return
    name = f"console-{title}" if plain else f"console-{title}-{width if width != 1280 else scheme}"
    path = Path(PICTURES) / f"{name}.webp"
    if title == "live" and plain:
        film(page, path)
    else:
        Pillow.open(io.BytesIO(page.screenshot())).convert("RGB").save(path, quality=80, method=6)


def film(page: Page, path: Path, frames: int = 24) -> None:
    """Keep what a page shows for some seconds, smaller."""
    shots = []
    for _ in range(frames):
        shot = Pillow.open(io.BytesIO(page.screenshot())).convert("RGB")
        shots.append(shot.resize((shot.width * 3 // 5, shot.height * 3 // 5), Pillow.Resampling.LANCZOS))
        page.wait_for_timeout(200)
    shots[0].save(path, save_all=True, append_images=shots[1:], duration=250, loop=0, quality=55, method=4)


def test_every_page_fits_stands_out_and_works_by_keyboard(
    run: Path, audited: Path, report: Path, enter: Callable[..., Page], wrong: list[str]
) -> None:
    ids = [record.id for record in EpisodeStore(run / "episodes").episodes()[-2:]]
    found = {}
    with console(run, audited) as url, asked(run):
        page = enter(url, role="labeller")
        page.evaluate("localStorage.setItem('soar-who', 'ada')")
        for title, template in PAGES.items():
            address = template.format(run=run.name, audited=audited.name, a=ids[0], b=ids[1], report=report)
            page.goto(address if "://" in address else f"{url}/{address}", wait_until="load")
            if title == "audit":
                until(page, "document.querySelector('#after').complete && document.querySelector('#audit').dataset.id")
            if title == "live":
                page.wait_for_selector("#robots .robot")
            if title == "trials":
                page.wait_for_selector("text=Is it as in the picture?")
            for width, scheme in LOOKED_AT:  # how a page is drawn follows the window: nothing of it is decided when it loads
                page.set_viewport_size({"width": width, "height": 800})
                page.emulate_media(color_scheme=scheme)
                until(page, LOADED)
                found[title, width, scheme] = page.evaluate(LOOKS)
                keep(page, title, width, scheme)
            by_keyboard(page)
            if title == "trials":
                page.evaluate("document.activeElement.blur()")
                page.keyboard.press("g")
                page.wait_for_selector("text=The robot works")
        page = enter(url, role="operator")
        for title in ("live", "run"):  # what an operator sees besides
            page.goto(f"{url}/{PAGES[title].format(run=run.name)}", wait_until="load")
            if title == "live":
                page.wait_for_selector("#fleet")
            for width, scheme in LOOKED_AT:
                page.set_viewport_size({"width": width, "height": 800})
                page.emulate_media(color_scheme=scheme)
                until(page, LOADED)
                found[f"{title}, operator", width, scheme] = page.evaluate(LOOKS)
            by_keyboard(page)
    assert {look: complaints for look, complaints in found.items() if complaints} == {}
    assert wrong == []


@pytest.mark.parametrize("width", [400, 560, 720, 880])
def test_no_column_of_a_report_hides_beyond_the_edge(tmp_path: Path, enter: Callable[..., Page], width: int) -> None:
    run = improved(tmp_path, BEFORE, AFTER, CONTROL, promote=(True, False))
    freeze(next(iter(open_sources([str(run)]).values())), tmp_path / "report.html")
    with console(run) as url:
        page = enter(url)
        page.set_viewport_size({"width": width, "height": 800})
        for address in (f"file://{tmp_path / 'report.html'}", f"{url}/s/run/run"):
            page.goto(address, wait_until="load")
            assert page.evaluate(LOOKS) == []
            # At the head of its column, or where that has no room, before each cell.
            heads = page.locator("#evaluations th").all_inner_texts() if width > 832 else page.evaluate(NAMES)
            for name in ("before: policy-000", "after: policy-001"):
                assert any(name in head for head in heads), heads


def test_a_verdict_is_told_with_its_answer_and_its_probability(tmp_path: Path, enter: Callable[..., Page]) -> None:
    run = make_run(tmp_path, 1)
    view = LiveView(run / "live", "bench", clock=itertools.count(time.time()).__next__)  # nothing comes too soon to be written
    no = Label(success=False, probability=0.26, source="vqa", question="is it in the bowl?", answer="no")
    view(step(1))
    view(Event(kind="judged", robot="bench", fields={"label": no}))
    view(Event(kind="judged", robot="bench", fields={"label": replace(no, success=True, probability=0.97)}))
    proposal = SimpleNamespace(answers={"is there a bowl?": Answer(text="yes", p_yes=0.9)})
    view(Event(kind="proposal", robot="bench", fields={"proposal": proposal}))
    with console(run) as url:
        page = enter(url, "/s/run/live")
        page.wait_for_selector(".answers li")
        assert page.locator(".answers li").all_inner_texts() == [
            "is there a bowl? yes (p = .90)",
            "is it in the bowl? no ✓ success (p = .97)",
            "is it in the bowl? no ✕ failure (p = .26)",
        ]


def test_what_stands_out_too_little_or_has_no_name_is_found(enter: Callable[..., Page], audited: Path) -> None:
    with console(audited) as url:
        page = enter(url, "/s/audited/calibration")
        assert page.evaluate(LOOKS) == []
        page.evaluate("document.querySelector('h1').attributeStyleMap.set('color', '#999')")
        page.evaluate("document.querySelector('#main').append(document.createElement('button'))")
        text, name = page.evaluate(LOOKS)
    assert text.startswith('"Can the judge be believed?" of <H1')
    assert name == "<BUTTON> has no name"
