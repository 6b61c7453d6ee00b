"""Who gets into the console, and what a stranger's page can do with it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from soar.cli import main
from soar.console import access
from soar.console.access import Rate, cookie_of
from soar.episodes import EpisodeStore
from soar.fleet.tokens import Bearer, Right, Tokens
from tests.console.building import TOKENS, Client, console, make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("access"), 3)


@pytest.fixture(scope="module")
def url(run: Path) -> Iterator[str]:
    with console(run) as address:
        yield address


LABEL = {"who": "ada", "id": "run-000-arm-0-00000", "verdict": "y"}


def test_a_stranger_sees_nothing_and_a_browser_is_led_to_the_entrance(url: str) -> None:
    stranger = Client(url, "")
    for path in ("/", "/s/run/episodes", "/s/run/live/next", "/s/run/thumb/1/0/1", "/s/nothing"):
        assert stranger.get(path).status_code == 401
    led = stranger.http.get("/s/run/episodes?task=a", headers={"Accept": "text/html"})
    assert (led.status_code, led.headers["location"]) == (303, "/enter?to=%2Fs%2Frun%2Fepisodes%3Ftask%3Da")
    assert stranger.get("/health").json() == {"status": "ok"}
    assert "Token" in stranger.get("/enter").text
    assert stranger.get("/static/console.js").headers["content-type"].startswith("text/javascript")
    assert Client(url, "", Authorization="Bearer wrong").get("/s/run/episodes").status_code == 401


def test_a_token_becomes_a_cookie_that_scripts_and_other_sites_do_not_get(url: str) -> None:
    origin = {"Origin": url}
    wrong = httpx2.post(f"{url}/enter", json={"token": "no"}, headers=origin, timeout=600)
    assert (wrong.status_code, "set-cookie" in wrong.headers) == (403, False)
    entered = httpx2.post(f"{url}/enter", json={"token": TOKENS["viewer"]}, headers=origin, timeout=600)
    assert entered.json() == {"may": ["look"]}
    cookie = entered.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert TOKENS["viewer"] not in cookie
    name, _, value = cookie.partition(";")[0].partition("=")
    assert value == cookie_of(TOKENS["viewer"])
    with httpx2.Client(base_url=url, cookies={name: value}, timeout=600) as page:
        assert page.get("/s/run/episodes").status_code == 200
        assert page.post("/s/run/labels", json=LABEL, headers=origin, timeout=600).status_code == 403


def test_each_role_may_do_what_it_is_for(url: str) -> None:
    assert [Client(url, role).get("/s/run/episodes").status_code for role in TOKENS] == [200, 200, 200]
    assert Client(url, "viewer").post("/s/run/labels", **LABEL).status_code == 403
    assert Client(url, "viewer").post("/s/run/audit/next", who="ada").status_code == 403
    for role in ("viewer", "labeller"):
        refused = Client(url, role).post("/s/run/orders", do="stop arms", who="ada")
        assert refused.status_code == 403
        assert f"the token of '{role}' may look" in refused.text
        assert "this is to stop" in refused.text
    assert Client(url, "labeller").post("/s/run/audit/next", who="ada").status_code == 200


def test_soar_console_takes_the_file_of_tokens_that_a_fleet_has(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tokens.yaml"
    file.write_text(
        "labeller: {token: the-token-of-bob, may: [look, label]}\nbench-1: {token: the-token-of-bench, may: [drive]}\n"
    )
    file.chmod(0o600)
    words = ["console", str(run), "--port", "0", "--tokens", str(file)]
    monkeypatch.setenv("BOB", "another-token-of-bob")
    assert main([*words, "--labeller-token-env", "BOB"]) == 2
    assert "has a token of 'labeller', too: leave out --labeller-token-env" in capsys.readouterr().err
    with subprocess.Popen([sys.executable, "-m", "soar.cli", *words], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip().removeprefix("open ").partition("/enter")[0]
            bob, bench = (Client(url, "", Authorization=f"Bearer the-token-of-{name}") for name in ("bob", "bench"))
            assert bob.post("/s/run/audit/next", who="bob").status_code == 200
            assert bob.post("/s/run/orders", do="stop arms", who="bob").status_code == 403
            assert bench.get("/s/run/run").status_code == 403
        finally:
            process.terminate()


def test_nothing_is_changed_by_another_sites_page_or_by_a_link(url: str, run: Path) -> None:
    cookie = {"Cookie": f"soar-console-{url.rpartition(':')[2]}={cookie_of(TOKENS['operator'])}"}
    body = {"json": LABEL}
    for headers, status in (
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({}, 403),  # a browser always says where a POST comes from
        ({"Origin": url, "Sec-Fetch-Site": "cross-site"}, 403),
    ):
        assert httpx2.post(f"{url}/s/run/labels", headers=cookie | headers, timeout=600, **body).status_code == status
    form = httpx2.post(f"{url}/s/run/labels", headers=cookie | {"Origin": url}, data={"who": "ada"}, timeout=600)
    assert form.status_code == 415
    for method in ("PUT", "DELETE", "PATCH"):
        assert httpx2.request(method, f"{url}/s/run/labels", headers=cookie | {"Origin": url}, timeout=600).status_code == 405
    before = EpisodeStore(run / "episodes").version
    for path in ("/s/run/labels", "/s/run/orders", "/s/run/audit/next", "/s/run/labels/undo"):
        assert Client(url).get(path).status_code in (404, 405)
    assert EpisodeStore(run / "episodes").version == before


def test_every_answer_says_what_pages_may_load(url: str) -> None:
    for path in ("/enter", "/s/run/episodes", "/static/live.js", "/nothing", "/s/run/frame/1/2/3"):
        headers = Client(url).get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in headers


def test_the_entrance_leads_nowhere_else(url: str) -> None:
    for to in ("https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/ok\nx"):
        assert 'data-to="/"' in Client(url, "").get("/enter", to=to).text
    assert 'data-to="/s/run/episodes?task=a"' in Client(url, "").get("/enter", to="/s/run/episodes?task=a").text


def test_too_many_guesses_and_too_long_requests_are_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The minute does not pass, however slow this machine is.
    monkeypatch.setattr(access, "Rate", lambda a_minute, clock: Rate(a_minute, clock=lambda: 0.0))
    with console(run) as url:
        origin = {"Origin": url}
        guesses = [httpx2.post(f"{url}/enter", json={"token": "x"}, headers=origin, timeout=600).status_code for _ in range(25)]
        assert guesses == [403] * 20 + [429] * 5
        long = Client(url).http.post("/s/run/labels", json={"who": "a" * 2**17})
        assert long.status_code == 413


def test_a_rate_lets_so_many_through_a_minute() -> None:
    now = [0.0]
    rate = Rate(60, clock=lambda: now[0])
    assert sum(rate.take() for _ in range(100)) == 60
    now[0] += 5
    assert sum(rate.take() for _ in range(100)) == 5


def test_a_token_of_a_fleets_file_may_do_in_the_console_what_the_file_says(run: Path) -> None:
    rights: dict[str, tuple[Right, ...]] = {
        "night": ("look", "stop"),
        "trainer": ("look", "promote"),
        "judge": ("look", "label"),
        "bench-1": ("drive",),
    }
    others = {name: Bearer(token=f"the-token-of-{name}", may=may) for name, may in rights.items()}
    asks: tuple[tuple[str, dict[str, str]], ...] = (
        ("orders", {"do": "set off limits", "task": "a", "who": "ada"}),
        ("orders", {"do": "deploy", "policy": "p", "who": "ada"}),  # 409: no fleet works there
        ("audit/next", {"who": "ada"}),
    )
    with console(run, tokens=Tokens(operator=TOKENS["operator"], others=others)) as url:
        found = {}
        for name, bearer in others.items():
            client = Client(url, "", Authorization=f"Bearer {bearer.token}")
            looks = client.get("/s/run/run").status_code
            found[name] = (looks, *(client.post(f"/s/run/{path}", **body).status_code for path, body in asks))
            page = client.get("/s/run/run").text
            assert ('id="limits"' in page) == (name == "night")
    assert found == {
        "night": (200, 200, 403, 403),
        "trainer": (200, 403, 409, 403),
        "judge": (200, 403, 403, 200),
        "bench-1": (403, 403, 403, 403),
    }
