"""Which of SOAR's readers reads a YAML file that a document shows: its keys say."""

from __future__ import annotations

import inspect
from pathlib import Path

import yaml

from soar.configuration import read_yaml, validate
from soar.fleet.config import load_fleet
from soar.fleet.rehearsal.plan import load_plan
from soar.fleet.tokens import read_tokens
from soar.improve.preset import load_preset
from soar.policies.openpi.maps import OpenPIConfig
from soar.references import resolve
from soar.remote.client import RemoteConfig
from soar.robots.lerobot.arms import load_arm
from soar.robots.registry import robot_config
from soar.robots.workcell import load_workcell
from soar.scenes import load_scene
from soar.subgoals.diffusion import DiffusionConfig
from soar.tasks.open_vocabulary import read_constitution
from soar.vlm.loading import load_vlm
from soar.vlm.transformers_model import TransformersConfig

PART_OF_A_MODEL = "backend: openai\nmodel: any\nbase_url: http://127.0.0.1:8000/v1\n"
BACKENDS = {"transformers": TransformersConfig, "diffusion": DiffusionConfig, "remote": RemoteConfig, "openpi": OpenPIConfig}


def load(text: str, folder: Path) -> None:
    """Write what a document shows to a file, and read it as a command would.

    Raises:
        SoarError: It is not read.
        AssertionError: Nothing here knows what it is.
    """
    path = folder / "shown.yaml"
    path.write_text(text, encoding="utf-8")
    data = read_yaml(path)
    if "robot" in data:
        load_workcell(str(path))
    elif "robots" in data:
        load_fleet(path)
    elif "driver" in data:
        robot_config(data, path)
    elif "improvement" in data or "extends" in data:
        load_preset(str(path))
    elif data.keys() <= {"watch_objects", "proposal", "rollout"}:
        path.write_text(yaml.safe_dump({"extends": "laptop", "improvement": {"collection": data}}), encoding="utf-8")
        load_preset(str(path))
    elif "joints" in data:
        load_arm(str(path), "an arm")
    elif "faults" in data:
        load_plan(path)
    elif "verbs" in data:
        read_constitution(path)
    elif "tasks" in data:
        load_scene(str(path))
    elif "backend" in data:
        _load_model(data, path)
    elif data.keys() <= {"decoder", "answer_tokens", "extra"}:
        (folder / "llm.yaml").write_text(PART_OF_A_MODEL, encoding="utf-8")
        path.write_text(PART_OF_A_MODEL + text, encoding="utf-8")
        load_vlm(str(path))
    else:
        assert all("token" in said for said in data.values()), f"which reader reads this?\n{text}"
        for number in range(len(data)):
            text = text.replace("token: …", f"token: of-sixteen-letters-{number}", 1)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        read_tokens(path)


def _load_model(data: dict[str, object], path: Path) -> None:
    """Read a model's file; one that is behind a server, or many gigabytes, only as far as its fields go."""
    backend = str(data.pop("backend"))
    if backend == "openai":
        load_vlm(str(path))
    elif backend in BACKENDS:
        validate(BACKENDS[backend], data, str(path))
    else:
        inspect.signature(resolve(backend, "model")).bind(**data)
