"""A model's description may ask for a network of any size; none is made that the file of weights beside it cannot hold."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from soar.base_models import default_weights
from soar.errors import CheckpointError
from soar.policies.learned import LearnedPolicy
from soar.subgoals.flow import FlowSubgoalModel
from soar.vlm.vqa import VQAModel


@pytest.mark.parametrize(
    ("name", "load", "changes"),
    [
        ("policy", LearnedPolicy.load, {"network": {"encoder": {"width": 10**9}}}),
        ("policy", LearnedPolicy.load, {"network": {"encoder": {"width": 32768}}}),
        ("policy", LearnedPolicy.load, {"network": {"head": {"hidden": [10**12]}}}),
        ("subgoal", FlowSubgoalModel.load, {"config": {"width": 8192}}),
        ("subgoal", FlowSubgoalModel.load, {"config": {"image_size": 2**40}}),
        ("vqa", VQAModel.load, {"config": {"text": {"max_words": 10**9}}}),
        ("vqa", VQAModel.load, {"config": {"width": 65536}}),
    ],
)
def test_a_network_of_absurd_width_is_one_message(
    tmp_path: Path, name: str, load: Callable[[Path], object], changes: dict[str, Any]
) -> None:
    folder = tmp_path / name
    shutil.copytree(default_weights(name), folder)
    path = folder / "config.json"
    path.write_text(json.dumps(_changed(json.loads(path.read_text()), changes)))
    with pytest.raises(CheckpointError, match=r"config.json .*(absurd width|is damaged)"):
        load(folder)


def _changed(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return values | {key: _changed(values[key], value) if isinstance(value, dict) else value for key, value in changes.items()}
