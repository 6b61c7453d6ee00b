"""What docker/ holds, compared with the project; its commands are started, which needs no container engine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8"))
INSTRUCTIONS = {"FROM", "ARG", "RUN", "WORKDIR", "COPY", "USER", "ENV", "CMD"}


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines if line.strip()]


def test_the_image_is_made_of_what_is_there() -> None:
    made = instructions()
    assert {name for name, _ in made} <= INSTRUCTIONS
    assert re.fullmatch(r"python:\d+\.\d+\.\d+-\S+", made[0][1]), "a pinned base image"
    for name, rest in made:
        if name == "COPY":
            assert all((ROOT / source).exists() for source in rest.split()[:-1]), rest
    runs = " ".join(rest for name, rest in made if name == "RUN")
    packages = subprocess.run(
        [sys.executable, "scripts/check_rendering.py", "--packages"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert set(packages.stdout.split()) <= set(runs.split())
    found = re.search(r'"\.\[([\w,-]+)\]"', runs)
    assert found
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(found[1].split(",")) <= set(extras)


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_a_service_starts_and_says_where_it_listens(name: str, tmp_path: Path) -> None:
    service = COMPOSE["services"][name]
    program, *flags = service["command"]
    host, port = flags.index("--host") + 1, flags.index("--port") + 1
    assert service["ports"] == [f"127.0.0.1:{flags[port]}:{flags[port]}"], "published on the machine alone"
    assert program == "soar"
    tokens = dict.fromkeys(service["environment"], "a-token-for-the-test")
    flags[host], flags[port] = "127.0.0.1", "0"
    command = [sys.executable, "-m", "soar.cli", *flags]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, cwd=tmp_path, env=os.environ | tokens, **output) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if "http://127.0.0.1:" in line:
                break
        process.terminate()
    assert "http://127.0.0.1:" in "".join(said), "".join(said)
