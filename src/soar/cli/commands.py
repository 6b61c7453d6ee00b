"""The commands: where each is, and what it is for. Nothing is imported before a command is chosen.

A command is a dataclass: its docstring is its help, its fields are its flags, and `run` runs it.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Attributes:
        place: `module:class`, the module under `soar.cli`.
        summary: What it is for, in a few words.
    """

    place: str
    summary: str

    def load(self) -> type[Any]:
        """Import its class."""
        module, _, name = self.place.partition(":")
        found: type[Any] = getattr(importlib.import_module(f"soar.cli.{module}"), name)
        return found


GROUPS: dict[str, dict[str, Command]] = {
    "The loop": {
        "improve": Command("improve:Improve", "let a robot improve itself: collect, co-train, evaluate, promote, report"),
        "collect": Command("collect:Collect", "let robots practise on their own, without resets"),
        "train": Command("train:TrainModel", "train a policy, a subgoal model, or a vision-language model"),
        "evaluate": Command("evaluate:Evaluate", "measure a policy in seeded trials"),
        "status": Command("status:Status", "say how far a run is, how well it goes, and what was decided"),
        "console": Command("console:Console", "show robots, runs and episodes in a browser; judge episodes by keys"),
    },
    "Robots": {
        "fleet": Command("fleet:Fleet", "let many robots practise in one run, on one machine or on many"),
        "robot": Command("robot:Robot", "check a robot before the night, stop it, measure its box, offer it to others"),
    },
    "Data": {
        "data": Command("data:Data", "look at episodes, correct them, exchange them with other formats"),
    },
    "Models": {
        "tasks": Command("tasks:Tasks", "write the questions of tasks, or let a model propose tasks"),
        "vlm": Command("vlm:VLM", "ask a vision-language model, or measure one as a success detector"),
        "policy": Command("policy:Policy", "probe a policy before a robot moves, publish it, fetch one"),
        "subgoal": Command("subgoals:Subgoal", "look at what a subgoal model imagines"),
        "serve": Command("serve:Serve", "put a model behind HTTP, for robots on other machines"),
        "import-checkpoint": Command("checkpoints:ImportCheckpoint", "take over a released JAX policy"),
        "import-susie": Command("subgoals:ImportSusie", "take over the released SuSIE subgoal model"),
        "export-policy": Command("checkpoints:ExportPolicy", "write a policy as one ONNX file, for a robot without torch"),
    },
    "From nothing, and again": {
        "pretrain": Command("pretrain:Pretrain", "make the base models in simulation"),
        "reproduce": Command("reproduce:Reproduce", "run the experiments behind the results"),
        "benchmark": Command("benchmark:Benchmark", "measure a learner or policy of your own as ours are"),
        "config": Command("config:Config", "show what a preset says"),
        "completion": Command("completion:Completion", "let a shell complete commands, flags and names"),
    },
}
COMMANDS = {name: command for group in GROUPS.values() for name, command in group.items()}


def overview() -> str:
    """Return the help of `soar` itself."""
    width = max(map(len, COMMANDS))
    lines = [
        "usage: soar COMMAND [flags]",
        "",
        "Robots that improve their instruction-following policy from data that they collect on their own.",
        "Begin with `soar improve --scene scene1`. Every command resumes when it is run again.",
    ]
    for title, group in GROUPS.items():
        lines += ["", title, *(f"  {name:<{width}}  {command.summary}" for name, command in group.items())]
    lines += ["", "soar COMMAND --help explains one of them; soar --version says which version this is."]
    return "\n".join(lines)
