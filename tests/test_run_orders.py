"""What a person told a run: kept in a file, heard by whoever reads it, also by the next command."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from soar.errors import SoarError
from soar.run_orders import FILE, Orders, Standing


def test_a_pause_outlives_the_command_and_a_stop_does_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    console, command = Orders(tmp_path / "run"), Orders(tmp_path / "run")
    assert command.begin() == Standing()
    console.give("pause", "ada")
    console.give("pause", "bob")  # who comes second changes nothing
    console.give("stop", "bob")
    assert command.now().ends
    with pytest.raises(SoarError, match=r"stopped by bob: 3 of the 4 episodes are there and kept\. Run the same command again"):
        command.check("3 of the 4 episodes are there")
    again = Orders(tmp_path / "run").begin()
    assert again.paused is not None
    assert (again.paused.by, again.stopped, again.ends) == ("ada", None, False)
    assert "Paused by ada since" in caplog.text
    assert "Resume it on the page Live of `soar console`, or delete the file" in caplog.text
    command.check("nothing")
    assert console.give("resume", "eve") == command.now() == Standing()
    assert command.now().words == ""


BEGINS = """
import sys
print("loads", flush=True)
sys.stdin.readline()
from pathlib import Path
from soar.run_orders import Orders
Orders(Path(sys.argv[1])).begin()
print("works")
"""


def test_a_command_that_is_stopped_while_it_loads_does_not_begin_and_the_next_one_does(tmp_path: Path) -> None:
    said = []
    for stops in (True, False):
        process = subprocess.Popen(
            [sys.executable, "-c", BEGINS, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "loads\n"
        if stops:
            Orders(tmp_path).give("stop", "ada")
        said.append(process.communicate("\n"))
    assert "stopped by ada before it began: nothing was done. Run the same command again to go on" in said[0][1]
    assert [out for out, _ in said] == ["", "works\n"]
    assert Orders(tmp_path).now() == Standing()
    Orders(tmp_path).give("stop", "ada")  # which another process obeys
    obeys = (
        f"from pathlib import Path; from soar.run_orders import Orders; Orders(Path({str(tmp_path)!r})).check('all is there')"
    )
    assert "stopped by ada: all is there and kept" in subprocess.run(
        [sys.executable, "-c", obeys], capture_output=True, text=True, check=False
    ).stderr  # fmt: skip
    assert Orders(tmp_path).begin() == Standing()
    (tmp_path / FILE).write_text('{"schema": 1, "stopped": {"by": "ada", "time_s": 1}}')  # of a command before this process
    assert Orders(tmp_path).begin() == Standing()


def test_a_policy_that_is_asked_for_stands_until_it_is_deployed_unless_another_one_is_wanted_then(tmp_path: Path) -> None:
    console, command = Orders(tmp_path), Orders(tmp_path)
    console.give("deploy", "ada", 2)
    first = command.now().deploy
    assert first is not None
    assert (first.by, first.policy) == ("ada", 2)
    assert command.now().words == "ada asked for policy 2: it is taken over before the next episode."
    console.give("deploy", "bob", 1)
    command.deployed(first)
    second = command.now().deploy
    assert second is not None
    assert (second.by, second.policy) == ("bob", 1)
    command.deployed(second)
    assert console.now() == Standing()


def test_who_waits_rests_once_and_goes_on_when_the_run_does_or_is_stopped(tmp_path: Path) -> None:
    orders, rested, said = Orders(tmp_path), list[str](), list[str | None]()

    def waiting(order: object) -> None:
        said.append(getattr(order, "by", None))
        if len(said) == 2:
            Orders(tmp_path).give("resume", "bob")

    assert not orders.wait("arm", rest=lambda: rested.append("home"), waiting=waiting).ends  # nobody has paused it
    assert (rested, said) == ([], [])
    orders.give("pause", "ada")
    assert orders.wait("arm", rest=lambda: rested.append("home"), waiting=waiting) == Standing()
    assert (rested, said) == (["home"], ["ada", "ada", None])
    orders.give("pause", "ada")
    threading.Timer(0.1, lambda: Orders(tmp_path).give("stop", "eve")).start()
    assert orders.wait("arm").ends
    assert orders.wait("arm", stopping=lambda: True).paused is not None, "whoever is to stop waits for nobody"


def test_a_damaged_file_lifts_no_pause_and_lets_nobody_begin(tmp_path: Path) -> None:
    reader = Orders(tmp_path)
    reader.give("pause", "ada")
    assert reader.now().paused is not None
    for damaged in ("{", "[]", '{"schema": 9}', '{"schema": 1, "paused": "ada"}', '{"schema": 1, "paused": {"by": "ada"}}'):
        (tmp_path / FILE).write_text(damaged)
        paused = reader.now().paused
        assert paused is not None
        assert paused.by == "ada"
        with pytest.raises(SoarError, match=r"orders\.json: cannot be read .*mend it, or delete it"):
            Orders(tmp_path).now()
    (tmp_path / FILE).write_text('{"schema": 1, "paused": {"by": "a\\u001b[2Jda", "time_s": 1}}')
    assert "a\\x1b[2Jda" in Orders(tmp_path).now().words


@pytest.mark.parametrize(
    "said",
    [
        '{"schema": 1, "paused": {"by": "ada", "time_s": 1e300}}',
        '{"schema": 1, "paused": {"by": "ada", "time_s": NaN}}',
        '{"schema": 1, "paused": {"by": "ada", "time_s": 1' + 400 * "0" + "}}",
        '{"schema": 1, "paused": {"by": " ", "time_s": 1}}',
        '{"schema": 1, "paused": {"by": ["ada"], "time_s": 1}}',
        '{"schema": 1, "pausd": {"by": "ada", "time_s": 1}}',
        '{"schema": 1, "deploy": {"by": "ada", "time_s": 1}}',
        '{"schema": 1, "deploy": {"by": "ada", "time_s": 1, "policy": -1}}',
        '{"schema": 1, "deploy": {"by": "ada", "time_s": 1, "policy": 2.7}}',
        '{"schema": 1, "deploy": {"by": "ada", "time_s": 1, "policy": true}}',
        '{"schema": 1, "deploy": {"by": "ada", "time_s": 1, "policy": 1e999}}',
        " " * 2**20 + '{"schema": 1}',
        64 * "[" + 64 * "]",
    ],
)
def test_an_order_that_is_none_is_a_damaged_file_and_not_another_order(tmp_path: Path, said: str) -> None:
    (tmp_path / FILE).write_text(said)
    with pytest.raises(SoarError, match=r"orders\.json: cannot be read .*mend it, or delete it"):
        Orders(tmp_path).now()


def test_a_pipe_in_the_place_of_the_orders_holds_nobody_up_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reader = Orders(tmp_path)
    reader.give("pause", "ada")
    reader.now()
    (tmp_path / FILE).unlink()
    os.mkfifo(tmp_path / FILE)
    assert [reader.now().paused is not None for _ in range(3)] == [True] * 3
    assert caplog.text.count("cannot be read") == 1
    with pytest.raises(SoarError, match="it is no file of at most"):
        Orders(tmp_path).now()


def test_a_name_of_several_lines_or_of_no_letters_writes_no_line_of_its_own(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"schema": 1, "paused": {"by": "ada\\nERROR \\ud800 \\u2028' + 100 * "x" + '", "time_s": 1}}')
    paused = Orders(tmp_path).now().paused
    assert paused is not None
    assert paused.by == "ada ERROR ? " + 68 * "x"
