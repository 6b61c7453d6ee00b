from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from soar.sim.pages.gallery import SCENES
from soar.sim.pages.scenes import draw_tasks, main, page
from soar.sim.scene import SceneConfig, load_scene

DOCS = Path(__file__).parents[3] / "docs"


def test_the_page_in_the_docs_is_about_the_scenes_as_they_are() -> None:
    text = (DOCS / "scenes.md").read_text()
    assert text == page([load_scene(name) for name in SCENES])
    for name in SCENES:
        assert f"images/{name}.jpg" in text
        assert (DOCS / "images" / f"{name}.jpg").stat().st_size < 80_000


def test_each_task_is_shown_before_and_after() -> None:
    scene = load_scene("scene5")
    sheet = draw_tasks(scene)
    assert sheet.shape == (128 + 16, 4 * 128 + 2 * 4 + 2 * 4, 3)
    opened, closed = sheet[:128, 132:260].astype(int), sheet[:128, 268 + 132 : 268 + 260].astype(int)
    assert np.abs(opened - closed).max() > 60


def test_a_page_and_its_pictures_are_written_by_one_command(tmp_path: Path) -> None:
    assert main([str(tmp_path / "scenes.md"), "--scenes", "scene5"]) == 0
    assert (tmp_path / "scenes.md").read_text() == (DOCS / "scenes.md").read_text()
    assert Image.open(tmp_path / "images" / "scene5.jpg").width == 4 * 128 + 4 * 4


def test_an_unknown_scene_is_one_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert main([str(tmp_path / "scenes.md"), "--scenes", "scene99"]) == 2
    assert "scene99" in caplog.text


def test_tables_and_objects_that_pretraining_lacks_are_told_apart() -> None:
    text = page([SceneConfig(name="mine", objects=("cloth",), tasks=())])
    assert "| objects |  (0) | cloth (1) |" in text
    assert "**cloth**" in text
