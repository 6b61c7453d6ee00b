from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from soar.sim.appearance import Appearance, AppearanceJitter, table_texture
from soar.sim.catalogue import tables

JITTER = AppearanceJitter(
    camera_position_m=0.03,
    camera_target_m=0.02,
    field_of_view_deg=1.5,
    light=0.3,
    light_direction=0.2,
    tint=0.1,
    object_tint=0.04,
    barrier_probability=0.5,
)


@given(st.integers(0, 2**31))
def test_jitter_stays_within_two_standard_deviations(seed: int) -> None:
    nominal = Appearance(table="slate")
    appearance = JITTER.draw(nominal, np.random.default_rng(seed))
    assert appearance.table == "slate"
    assert np.all(np.abs(np.subtract(appearance.camera_position, nominal.camera_position)) <= 0.06 + 1e-9)
    assert abs(appearance.field_of_view_deg - nominal.field_of_view_deg) <= 3 + 1e-9
    assert appearance.light >= 0.4
    assert appearance.barrier_opacity == 0 or 0.05 <= appearance.barrier_opacity <= 0.3


def test_jitter_repeats_by_seed_and_none_is_none() -> None:
    draws = [JITTER.draw(Appearance(), np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]
    still = AppearanceJitter().draw(Appearance(), np.random.default_rng(0))
    assert replace(still, seed=0) == Appearance()


@pytest.mark.parametrize("name", sorted(tables()))
def test_table_tops_repeat_by_seed_and_have_their_colours(name: str) -> None:
    spec = tables()[name]
    png = table_texture(spec, 4)
    assert png == table_texture(spec, 4)
    pixels = np.asarray(Image.open(io.BytesIO(png))) / 255
    assert pixels.shape == (128, 128, 3)
    low, high = np.minimum(spec.rgb, spec.rgb2), np.maximum(spec.rgb, spec.rgb2)
    assert np.all(pixels.mean(axis=(0, 1)) >= low - 0.01)
    assert np.all(pixels.mean(axis=(0, 1)) <= high + 0.01)
