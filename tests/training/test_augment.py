from __future__ import annotations

import colorsys
import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from soar.errors import ConfigError
from soar.training.augment import NO_AUGMENTATION, AugmentationConfig, augment


def images(batch: int = 4, size: int = 16, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (batch, size, size, 3), np.uint8))


def only(**changes: object) -> AugmentationConfig:
    return dataclasses.replace(NO_AUGMENTATION, **changes)  # type: ignore[arg-type]


def test_without_changes_images_are_only_scaled() -> None:
    x = images()
    observation, goal = augment(x, x.flip(0), NO_AUGMENTATION)
    assert torch.allclose(observation, x.permute(0, 3, 1, 2) / 127.5 - 1)
    assert torch.allclose(goal, x.flip(0).permute(0, 3, 1, 2) / 127.5 - 1)


@given(shift=st.integers(0, 3), crop=st.booleans(), strength=st.floats(0, 1), hue=st.floats(0, 0.5), seed=st.integers(0, 2**32))
@settings(max_examples=25)
def test_observation_and_goal_get_the_same_draw_and_stay_in_range(
    shift: int, crop: bool, strength: float, hue: float, seed: int
) -> None:
    scale = (0.5, 0.9) if crop and not shift else (1.0, 1.0)
    config = AugmentationConfig(
        crop_scale=scale, crop_ratio=(1, 1), shift=shift, brightness=strength, contrast=strength, saturation=strength, hue=hue
    )
    torch.manual_seed(seed)
    x = images()
    observation, goal = augment(x, x, config)
    assert torch.allclose(observation, goal, atol=1e-5)
    assert observation.shape == (4, 3, 16, 16)
    assert observation.abs().max() <= 1


@pytest.mark.parametrize(
    "config",
    [only(shift=2), only(crop_scale=(0.5, 0.9)), only(brightness=0.2), only(contrast=0.5), only(saturation=0.9), only(hue=0.3)],
)
def test_each_change_differs_from_sample_to_sample_and_follows_the_seed(config: AugmentationConfig) -> None:
    x = images(1).repeat(8, 1, 1, 1)
    torch.manual_seed(1)
    first, _ = augment(x, x, config)
    torch.manual_seed(1)
    second, _ = augment(x, x, config)
    assert torch.equal(first, second)
    assert not torch.allclose(first[0], first[1], atol=1e-3)


def test_the_draws_of_one_sample_are_independent_of_each_other() -> None:
    # Grey and saturated pixels tell brightness from saturation: their changes must not be correlated.
    x = torch.zeros(2000, 1, 2, 3, dtype=torch.uint8)
    x[:, 0, 0] = 128
    x[:, 0, 1] = torch.tensor([168, 88, 88])
    torch.manual_seed(0)
    out, _ = augment(x, x, only(brightness=0.1, saturation=0.2))
    brightness = out[:, 0, 0, 0]
    saturation = out[:, 0, 0, 1] - out[:, 1, 0, 1]
    assert float(saturation.std()) > 0.01
    correlation = np.corrcoef(brightness.numpy(), saturation.numpy())[0, 1]
    assert abs(correlation) < 0.1


def test_with_one_draw_brightness_and_saturation_go_together() -> None:
    x = torch.zeros(500, 1, 2, 3, dtype=torch.uint8)
    x[:, 0, 0] = 128
    x[:, 0, 1] = torch.tensor([168, 88, 88])
    torch.manual_seed(0)
    out, _ = augment(x, x, only(brightness=0.1, saturation=0.2, one_draw=True))
    brightness = out[:, 0, 0, 0]
    saturation = out[:, 0, 0, 1] - out[:, 1, 0, 1]
    assert np.corrcoef(brightness.numpy(), saturation.numpy())[0, 1] > 0.99


def test_a_shift_moves_whole_pixels_and_repeats_the_edge() -> None:
    x = images(64, 8)
    torch.manual_seed(0)
    out, _ = augment(x, x, only(shift=2))
    padded = torch.nn.functional.pad(x.permute(0, 3, 1, 2).float(), (2, 2, 2, 2), mode="replicate") / 127.5 - 1
    offsets = set()
    for index in range(64):
        matches = [
            (dy, dx)
            for dy in range(5)
            for dx in range(5)
            if torch.allclose(out[index], padded[index, :, dy : dy + 8, dx : dx + 8], atol=1e-5)
        ]
        assert len(matches) == 1
        offsets.add(matches[0])
    assert len(offsets) > 15


def test_a_crop_enlarges_a_part_of_the_image() -> None:
    ramp = torch.linspace(0, 255, 64).to(torch.uint8)
    x = torch.stack([ramp.expand(64, 64), ramp[:, None].expand(64, 64), ramp.expand(64, 64)], dim=-1).repeat(32, 1, 1, 1)
    torch.manual_seed(0)
    out, _ = augment(x, x, only(crop_scale=(0.25, 0.25)))
    width = (out[:, 0].amax((1, 2)) - out[:, 0].amin((1, 2))) / 2
    height = (out[:, 1].amax((1, 2)) - out[:, 1].amin((1, 2))) / 2
    assert torch.allclose(width, torch.full((32,), 0.5), atol=0.03)
    assert torch.allclose(height, torch.full((32,), 0.5), atol=0.03)
    assert float(out[:, 0].mean((1, 2)).std()) > 0.05


def test_hue_turns_colour_and_keeps_luma() -> None:
    x = torch.tensor([150, 100, 100], dtype=torch.uint8).expand(500, 1, 1, 3)
    torch.manual_seed(0)
    out, _ = augment(x, x, only(hue=0.5))
    rgb = (out[:, :, 0, 0] + 1) / 2
    assert torch.allclose(rgb @ torch.tensor([0.299, 0.587, 0.114]), torch.full((500,), 115 / 255), atol=0.01)
    hues = [colorsys.rgb_to_hsv(*pixel)[0] for pixel in rgb.tolist()]
    assert min(np.histogram(hues, bins=6, range=(0, 1))[0]) > 20


def test_contrast_keeps_the_mean_of_each_image() -> None:
    x = (images(8, 32) // 2) + 64
    out, _ = augment(x, x.flip(0), only(contrast=0.5))
    assert torch.allclose(out.mean((2, 3)), (x.float().mean((1, 2)) / 127.5 - 1), atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"crop_scale": (0.9, 0.8)}, "crop_scale"),
        ({"crop_ratio": (0.0, 1.0)}, "crop_ratio"),
        ({"shift": -1}, "shift"),
        ({"hue": 0.6}, "hue"),
        ({"shift": 2, "crop_scale": (0.8, 1.0)}, "exclude each other"),
    ],
)
def test_an_impossible_configuration_names_its_field(changes: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        only(**changes)
