from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from soar.sim.pages.gallery import draw_gallery, main
from soar.sim.scene import SceneConfig


def test_scenes_stand_three_in_a_row_with_captions() -> None:
    empty = [SceneConfig(name=f"empty {i}", objects=(), tasks=()) for i in range(4)]
    sheet = draw_gallery(empty)
    assert sheet.shape == (2 * 256 + 2 * 36 + 4, 3 * 256 + 2 * 4, 3)
    assert np.array_equal(sheet[:256, :256], sheet[:256, 260:516])  # equal worlds look alike
    assert not np.array_equal(sheet[256:292, :256], sheet[256:292, 260:516])  # their captions do not
    assert np.all(sheet[296:, 260:] == 255)  # no fifth scene


def test_the_picture_is_written_small_enough_for_a_readme(tmp_path: Path) -> None:
    path = tmp_path / "images" / "scenes.png"
    assert main([str(path)]) == 0
    assert path.stat().st_size < 300_000
    assert Image.open(path).size == (3 * 256 + 2 * 4, 4 * (256 + 36 + 4) - 4)


def test_a_folder_that_cannot_be_made_is_one_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "images").write_text("a file, not a folder")
    assert main([str(tmp_path / "images" / "scenes.png")]) == 2
    assert "cannot write" in caplog.text
