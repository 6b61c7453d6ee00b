"""SOAR as a library: what README and the notebook show."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import soar
from soar.collect.rollout import RolloutConfig
from soar.errors import ConfigError
from soar.testing import FakePolicy, FakeSubgoals

ROOT = Path(__file__).parent.parent.parent
CELL = """
robot: {driver: 'tests.robots.own:Cell'}
workspace: {low: [0.15, -0.2, 0.02], high: [0.4, 0.2, 0.2]}
scene: {name: lab, tasks: [put the carrot on the plate]}
"""


def run_cell(source: str, names: dict[str, Any]) -> Any:
    """Run a cell of a notebook, and return the value of its last line if that is an expression."""
    body = ast.parse(source).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "cell", "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), "cell", "eval"), names)  # type: ignore[attr-defined]


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cells = json.loads((ROOT / "docs" / "notebooks" / "one_episode.ipynb").read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {}
    shown = [run_cell("".join(cell["source"]), names) for cell in cells if cell["cell_type"] == "code"]
    assert shown[1][:2] == ((101, 64, 64, 3), (100, 7))
    assert isinstance(shown[2], Image.Image)
    assert shown[2].size == (6 * 64, 2 * 64)
    assert shown[3] == [("put the green block in the wooden bowl", shown[1][2])]


def test_the_ten_lines_of_the_readme_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("## As a library")[2]
    found = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert found
    assert len(found[1].splitlines()) <= 10
    run_cell(found[1], {})
    assert Image.open("episode.png").size == (3 * 64, 64)


def test_importing_soar_imports_nothing_else() -> None:
    script = "import sys, soar; print([name for name in sys.modules if name.startswith('soar.') or name == 'numpy'])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout == "[]\n"
    assert all(callable(getattr(soar, name)) for name in soar.__all__ if name != "__version__")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = soar.nothing


def test_an_episode_on_a_robot_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(CELL)
    with soar.open_workcell(str(tmp_path / "own.yaml")) as workcell:
        config = RolloutConfig(subgoals=2, steps_per_subgoal=3)
        episode = soar.run_episode(workcell, FakePolicy(), "put the carrot on the plate", FakeSubgoals(), seed=3, config=config)
        with pytest.raises(ConfigError, match="pass one, such as"):
            soar.run_episode(workcell, FakePolicy(), "put the carrot on the plate")
    assert (episode.scene, len(episode.actions_TD), len(episode.subgoals)) == ("lab", 6, 2)
    assert episode.images_THWC.shape == (7, 48, 64, 3)
    np.testing.assert_allclose(episode.actions_TD[:, 0], 0.002)
    assert [(label.success, label.source) for label in episode.labels] == [(True, "simulator")]
    assert (episode.provenance.robot, episode.provenance.seed) == ("own", 3)
