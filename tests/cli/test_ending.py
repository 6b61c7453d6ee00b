"""How commands end: Ctrl-C while they start, SIGTERM, a reader that has gone. Real processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from soar.cli import RESUME, STOPPED, last_words
from soar.cli.console import console_beside
from soar.cli.ending import Terminated, ending
from soar.cli.run import run
from soar.episodes import EpisodeStore
from soar.errors import RenderingError
from tests.episodes.builders import make_episode
from tests.improve.tiny import SCENE, random_policy, write
from tests.interrupts import heard

SOAR = [sys.executable, "-m", "soar.cli"]


@pytest.fixture
def collecting(tmp_path: Path) -> list[str]:
    """A collection that would go on for ever."""
    scene, policy = write(tmp_path, "one.yaml", SCENE), random_policy(tmp_path / "policy")
    command = ["collect", "--run", str(tmp_path / "run"), "--scene", scene, "--policy", str(policy)]
    return [*command, "--subgoals", "oracle", "--vlm", "oracle", "--workers", "1", "--episodes", "1000"]


def start(*command: str, ignoring: bool = False) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if ignoring else heard,  # noqa: PLW1509
    )


@pytest.mark.parametrize("module", ["soar.cli.commands", "tyro", "numpy", "torch", "mujoco", "OpenGL.EGL"])
def test_ctrl_c_while_modules_are_imported_is_one_line_and_130(collecting: list[str], module: str) -> None:
    with start(sys.executable, "-X", "importtime", "-m", "soar.cli", *collecting) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.rpartition("|")[2].strip() == module:
                break
        os.killpg(process.pid, signal.SIGINT)
        rest = [line for line in process.stderr if not line.startswith("import time:")]
    assert process.returncode == 130
    said = [line.strip() for line in rest if line.strip() and not line.startswith("Opening")]
    assert said == [RESUME]


def test_ctrl_c_before_there_is_anything_of_ours_is_one_line_and_130() -> None:
    script = (
        "import runpy, signal, sys\n"
        "class CtrlC:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == sys.argv[1]: signal.raise_signal(signal.SIGINT)\n"
        "sys.meta_path.insert(0, CtrlC())\n"
        "runpy.run_module('soar', run_name='__main__')"
    )
    for module in ("soar.cli", "soar.cli.ending", "soar.cli.run"):
        with start(sys.executable, "-c", script, module) as process:
            said = process.communicate()[1]
        assert process.returncode == 130
        assert said.strip() in ("Interrupted.", RESUME)


@pytest.mark.parametrize(
    ("command", "module", "number", "status"),
    [
        ("serve policy", "fastapi", signal.SIGTERM, 143),
        ("serve policy", "uvicorn.protocols.http.h11_impl", signal.SIGINT, 130),
        ("robot serve --workcell sim:scene1", "mujoco", signal.SIGTERM, 143),
        ("robot serve --workcell sim:scene1", "OpenGL.EGL", signal.SIGINT, 130),
        ("console RUN --wait", "soar.cli.commands", signal.SIGINT, 130),
        ("console RUN --wait", "fastapi", signal.SIGTERM, 143),
    ],
)
def test_a_server_that_is_stopped_while_it_starts_says_so_and_nothing_of_resuming(
    command: str, module: str, number: signal.Signals, status: int
) -> None:
    with start(sys.executable, "-X", "importtime", "-m", "soar.cli", *command.split(), "--port", "0") as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.rpartition("|")[2].strip() == module:
                break
        os.killpg(process.pid, number)
        rest = [line for line in process.stderr if not line.startswith("import time:")]
    assert process.returncode == status
    # On a busy machine the signal comes late, when the server is ready: it says the same then.
    assert [line.strip() for line in rest if line.strip()] == [STOPPED]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"])
@pytest.mark.parametrize("command", ["console RUN --wait", "serve policy"])
def test_a_server_that_served_says_that_it_stopped(command: str, number: signal.Signals, status: int) -> None:
    with start(*SOAR, *command.split(), "--port", "0") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        while not ("open http" in (line := process.stdout.readline()) or " is served at " in line):
            assert line, process.stderr.read()
        with contextlib.suppress(urllib.error.HTTPError):  # whoever has no token hears so: the server is at work
            urllib.request.urlopen(line.split()[-1].partition("#")[0], timeout=600).close()
        os.killpg(process.pid, number)
        rest = process.stderr.read()
    assert process.returncode == status
    assert rest.strip() == STOPPED


def test_a_console_beside_a_run_ends_with_it_and_says_nothing_of_resuming(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with console_beside(tmp_path / "run"):
        pass
    said = [line for line in capfd.readouterr().err.splitlines() if line]
    assert said[0].startswith("open http://127.0.0.1:")
    assert said[1:] == [STOPPED]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["serve", "policy"], STOPPED),
        (["console", "runs/a"], STOPPED),
        (["robot", "serve", "--driver", "x"], STOPPED),
        (["console", "runs/a", "--freeze", "a.html"], RESUME),
        (["robot", "check"], RESUME),
        (["collect"], RESUME),
        ([], RESUME),
    ],
)
def test_only_what_can_be_resumed_is_said_to_be(words: list[str], said: str) -> None:
    assert last_words(words) == said


@pytest.mark.parametrize(
    ("send", "number", "status"),
    [(os.killpg, signal.SIGINT, 130), (os.kill, signal.SIGTERM, 143)],  # as a terminal does, and a supervisor
    ids=["Ctrl-C", "SIGTERM"],
)
def test_a_signal_ends_a_collection_with_its_status_and_it_says_how_to_go_on(
    collecting: list[str], tmp_path: Path, send: Callable[[int, int], None], number: signal.Signals, status: int
) -> None:
    with start(*SOAR, *collecting) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith(
            f"Opening sim:{tmp_path / 'one.yaml'}, {tmp_path / 'policy'}, oracle, oracle"
        )
        assert process.stderr.readline().startswith("episodes: 0/1000")
        send(process.pid, number)
        rest = process.stderr.read()
    assert process.returncode == status
    assert "run the same command again to resume" in rest
    assert "Traceback" not in rest
    assert EpisodeStore(tmp_path / "run" / "episodes").count() < 1000


def test_sigterm_closes_the_arm_of_a_workcell(tmp_path: Path) -> None:
    driver = tmp_path / "closing_arm.py"
    driver.write_text(
        "import os, signal\nfrom pathlib import Path\nfrom soar.testing import FakeRobot\n"
        "class Arm(FakeRobot):\n"
        "    def __init__(self): super().__init__(64)\n"
        "    def act(self, action): os.kill(os.getpid(), signal.SIGTERM); super().act(action)\n"
        f"    def close(self): Path({str(tmp_path / 'closed')!r}).touch()\n"
    )
    cell = "robot: {driver: 'closing_arm:Arm'}\nworkspace: {low: [0.15, -0.2, 0.02], high: [0.4, 0.2, 0.2]}\n"
    bench = write(tmp_path, "bench.yaml", cell + "scene: {tasks: [put the carrot on the plate]}\n")
    models = write(tmp_path, "user_models.py", "from soar.testing import FakePolicy, FakeSubgoals, FakeVLM\n")
    policy = ["--policy", "user_models:FakePolicy", "--subgoals", "user_models:FakeSubgoals", "--vlm", "user_models:FakeVLM"]
    command = [*SOAR, "collect", "--workcell", bench, "--run", str(tmp_path / "run"), "--episodes", "3", *policy]
    done = subprocess.run(command, cwd=Path(models).parent, capture_output=True, text=True, check=False)
    assert done.returncode == 143, done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "closed").exists()


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    script = "import signal, sys; from soar.cli.ending import ending\n"
    script += "print(ending(lambda: signal.raise_signal(signal.SIGINT) or 7, own_process=True))"
    with start(sys.executable, "-c", script, ignoring=True) as process:
        assert process.communicate()[0] == "7\n"


def raises(error: type[BaseException]) -> Callable[[], int]:
    def work() -> int:
        raise error

    return work


def test_what_a_library_makes_of_an_interrupt_is_an_interrupt(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> int:
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            raise ImportError("MUJOCO_GL does not work here") from None
        return 0

    assert ending(work, own_process=False) == 143
    assert capsys.readouterr().err.strip() == RESUME
    with pytest.raises(ImportError):
        ending(raises(ImportError), own_process=False)
    assert ending(raises(Terminated), own_process=False) == 143


def test_what_a_library_says_of_an_interrupt_is_not_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Drawing:
        def run(self) -> None:
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                raise RenderingError("MUJOCO_GL does not work here: apt-get install …") from None

    monkeypatch.setattr("soar.cli.run.parse", lambda _name, _words: Drawing())
    assert ending(lambda: run(["collect"]), own_process=False) == 130
    assert capsys.readouterr().err.strip() == RESUME


def test_an_interrupt_that_nobody_could_catch_comes_again() -> None:
    def work() -> int:
        class Interrupted:
            def __del__(self) -> None:
                signal.raise_signal(signal.SIGINT)

        one = Interrupted()
        del one
        while True:
            signal.pause()

    assert ending(work, own_process=False) == 130


@pytest.mark.parametrize(
    "arguments", [["--help"], ["collect", "--help"], ["data", "stats", "STORE"], ["config", "show", "laptop"]]
)
def test_a_reader_that_has_gone_ends_a_command_without_a_word(tmp_path: Path, arguments: list[str]) -> None:
    if "STORE" in arguments:
        EpisodeStore(tmp_path / "store", mode="create").append([make_episode("a", size=64)])
    reading, writing = os.pipe()
    os.close(reading)
    command = [*SOAR, *(str(tmp_path / "store") if word == "STORE" else word for word in arguments)]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert done.stderr == ""
    assert done.returncode == 141
