from __future__ import annotations

import io

import numpy as np
from PIL import Image as Pillow

from soar.reports.video import SHOWN_PX, clip, film_strip
from tests.evaluation.examples import episode


def is_green(picture: np.ndarray) -> np.ndarray:
    return (picture[..., 1].astype(int) - picture[..., 0] > 60) & (picture[..., 1].astype(int) - picture[..., 2] > 40)


def test_each_subgoal_stands_under_the_frame_that_was_to_reach_it() -> None:
    strip = np.asarray(film_strip(episode()))
    columns = 3
    width = -(-strip.shape[1] // columns)
    assert strip.shape[1] >= columns * SHOWN_PX
    upper, lower = np.split(is_green(strip), 2)
    for column in range(1, columns):
        reached, asked = upper[:, column * width : (column + 1) * width], lower[:, column * width : (column + 1) * width]
        assert reached.any()
        assert np.array_equal(reached, asked)
    assert not lower[:, :width].any()


def test_an_episode_without_subgoals_is_one_row_of_frames() -> None:
    strip = film_strip(episode(subgoals=0))
    assert strip.height < 2 * SHOWN_PX
    assert strip.width >= 6 * SHOWN_PX
    assert film_strip(episode(subgoals=0, steps=2)).width < 4 * SHOWN_PX


def test_large_frames_are_not_enlarged() -> None:
    assert film_strip(episode(subgoals=0, size=300)).height < 350


def test_a_clip_plays_every_frame_in_real_time_beside_its_subgoal() -> None:
    with Pillow.open(io.BytesIO(clip(episode(steps=10)))) as playing:
        assert playing.format == "WEBP"
        assert playing.n_frames == 11
        assert playing.width > 2 * playing.height
        playing.load()
        assert playing.info["duration"] == 200


def test_a_clip_without_subgoals_shows_the_camera_alone() -> None:
    with Pillow.open(io.BytesIO(clip(episode(steps=3, subgoals=0)))) as playing:
        assert playing.size == (SHOWN_PX, SHOWN_PX)
