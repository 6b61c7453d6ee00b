"""The reference of the documentation site, made from the code: commands, presets, protocols, wires and files."""

from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from soar.cli.commands import COMMANDS
from soar.cli.completion import places
from soar.configuration import names
from soar.improve.preset import explained

PROTOCOLS = (
    "soar.robots.base:Robot",
    "soar.vlm.base:VisionLanguageModel",
    "soar.subgoals.base:SubgoalModel",
    "soar.policies.base:Policy",
    "soar.training.learner:Learner",
)
WIRES = ("remote.wire", "serving.subgoals", "serving.policies", "serving.chat", "serving.robots")
WIRES += ("robots.widowx.wire", "fleet.messages")
FILES = ("episodes.schema", "fleet.episode_bytes", "event_log", "evaluation.trials", "evaluation.results", "tasks.questions")


def pages() -> dict[str, str]:
    """Return the pages by their places on the site."""
    return {
        "reference/commands.md": commands_page(),
        "reference/presets.md": presets_page(),
        "reference/protocols.md": protocols_page(),
        "reference/files.md": modules_page("Wires and files", "What travels, and what lies on disk.", WIRES + FILES),
    }


def protocols_page() -> str:
    """Return what a robot, a model or a learner of one's own has to do."""
    parts = ["# Protocols", "", "A class with these methods is a robot, a model or a learner; nothing has to be inherited."]
    parts += ["`soar.testing` has the contract of each, and `MODULE:NAME` brings yours into any command."]
    for place in PROTOCOLS:
        module, _, name = place.partition(":")
        protocol = getattr(importlib.import_module(module), name)
        parts += ["", f"## {name}", "", f"`{module}`", "", documented(protocol)]
        for method, function in vars(protocol).items():
            inner = function.fget if isinstance(function, property) else function
            if method.startswith("_") or not inspect.isfunction(inner):
                continue
            said = "property" if isinstance(function, property) else f"{method}{inspect.signature(inner)}"
            parts += ["", f"### {method}", "", f"`{said}`", "", documented(inner)]
    return "\n".join(parts) + "\n"


def modules_page(title: str, about: str, modules: tuple[str, ...]) -> str:
    """Return what modules say about themselves."""
    parts = [f"# {title}", "", about]
    for name in modules:
        module = importlib.import_module(f"soar.{name}")
        text = inspect.getdoc(module) or ""
        first = text.partition("\n")[0]
        parts += ["", f"## {first.rstrip('.').split(': ')[0][:70]}", "", f"`soar.{name}`", "", "```text", text, "```"]
    return "\n".join(parts) + "\n"


def documented(thing: Any) -> str:
    """Return a docstring as it stands."""
    return "```text\n" + (inspect.getdoc(thing) or "") + "\n```"


def commands_page() -> str:
    """Return the help of every command and subcommand, as the terminal shows it."""
    parts = ["# Commands", "", "What `soar COMMAND --help` says, for every command."]
    names = [words for name, command in COMMANDS.items() for words, _ in places((name,), command.load())]
    for name, said in zip(names, in_turn(names), strict=True):
        parts += ["", f"{'#' * (1 + len(name))} soar {' '.join(name)}", "", "```text", said.strip(), "```"]
    return "\n".join(parts) + "\n"


def presets_page() -> str:
    """Return every value of the presets that come with SOAR, as `soar config show` prints it."""
    parts = [
        "# Presets",
        "",
        "What `soar config show NAME` says: every value, and where it comes from. Any of them can be set for one run, or in a",
    ]
    parts.append("YAML file that begins with `extends: laptop`.")
    for name in names("presets"):
        parts += ["", f"## {name}", "", "```yaml", explained(name, ()).strip(), "```"]
    return "\n".join(parts) + "\n"


def in_turn(names: list[tuple[str, ...]]) -> list[str]:
    """Return the help of each command."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(help_of, names))


def help_of(name: tuple[str, ...]) -> str:
    """Return what one command says about itself."""
    command = [sys.executable, "-m", "soar.cli", *name, "--help"]
    environment = os.environ | {"NO_COLOR": "1", "TERM": "dumb"}
    return subprocess.run(command, check=True, capture_output=True, encoding="utf-8", env=environment).stdout
