"""The real loading and sampling code, on a pipeline of random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from soar.errors import CheckpointError, ConfigError, ModelServerError, NumericalError, UnknownNameError
from soar.remote import fallbacks
from soar.subgoals.base import check_imagined
from soar.subgoals.diffusion import DiffusionConfig, DiffusionSubgoals, load_pipeline, save_pipeline
from soar.subgoals.diffusion_sampling import SAMPLERS
from soar.subgoals.loading import load_subgoal_model
from soar.testing import check_subgoal_model

from .tiny_diffusion import save_tiny_pipeline

IMAGES = [np.random.default_rng(i).integers(0, 256, (40 + 8 * i, 48, 3), dtype=np.uint8) for i in range(3)]
TEXTS = ["open the drawer", "put the carrot on the plate", "fold the cloth"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_pipeline(tmp_path_factory.mktemp("diffusion") / "tiny")


def opened(folder: Path, **changes: Any) -> DiffusionSubgoals:
    return DiffusionSubgoals.load(DiffusionConfig(model=str(folder), **{"image_size": 32, "steps": 2, **changes}))


def test_it_keeps_the_contract(folder: Path) -> None:
    model = opened(folder)
    check_subgoal_model(model)
    assert model.id.endswith("-ddim2-7.5-2")


def test_batches_cut_nothing_and_change_nothing(folder: Path) -> None:
    one, two = (opened(folder, batch_size=size) for size in (1, 2))
    first, second = (model.generate(IMAGES, TEXTS, [1, 2, 3]) for model in (one, two))
    for image, a, b in zip(IMAGES, first, second, strict=True):
        assert a.shape == image.shape
        assert np.abs(a.astype(int) - b).max() <= 1
    assert not np.array_equal(one.generate(IMAGES[:1], TEXTS[:1], [9])[0], first[0]), "another seed, another subgoal"


def test_the_guidance_is_the_papers_and_reaches_the_sampler(folder: Path) -> None:
    defaults = DiffusionConfig(model="m")
    assert (defaults.guidance, defaults.image_guidance, defaults.sampler, defaults.steps) == (7.5, 2.0, "ddim", 50)
    goals = {
        (text, image): opened(folder, guidance=text, image_guidance=image).generate(IMAGES[:1], TEXTS[:1], [1])[0].tobytes()
        for text in (1.5, 30.0)
        for image in (1.0, 30.0)
    }
    assert len(set(goals.values())) == 4


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_every_sampler_runs(folder: Path, sampler: str) -> None:
    model = opened(folder, sampler=sampler, steps=3)
    assert f"-{sampler}3-" in model.id
    assert model.generate(IMAGES[:1], TEXTS[:1], [0])[0].std() > 0


def test_it_is_named_by_its_folder_or_by_a_yaml_file_beside_it(folder: Path) -> None:
    path = folder.parent / "fast.yaml"
    path.write_text("backend: diffusion\nmodel: tiny\nsampler: dpm\nsteps: 2\nimage_size: 32\n")
    assert "-dpm2-" in load_subgoal_model(str(path)).id
    assert load_subgoal_model(str(folder)).id.endswith("-ddim50-7.5-2")
    path.with_name("wrong.yaml").write_text("backend: gan\nmodel: tiny\n")
    with pytest.raises(UnknownNameError, match=r"unknown backend 'gan'.*Valid choices: diffusion"):
        load_subgoal_model(str(path.with_name("wrong.yaml")))
    path.with_name("typo.yaml").write_text("backend: diffusion\nmodel: tiny\nstep: 2\n")
    with pytest.raises(UnknownNameError, match="did you mean 'steps'"):
        load_subgoal_model(str(path.with_name("typo.yaml")))


def test_a_checkpoint_that_does_not_edit_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="4 input channels; one that edits images has 8"):
        opened(save_tiny_pipeline(tmp_path / "plain", channels=4))


def test_a_damaged_or_missing_checkpoint_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"cannot be loaded.*InstructPix2Pix pipeline as safetensors"):
        opened(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"guidance": -1.0},
        {"image_guidance": float("inf")},
        {"guidance_interval": (0.5, 0.5)},
        {"image_size": 100},
        {"steps": 0},
        {"batch_size": 0},
        {"sampler": "plms"},
    ],
)
def test_numbers_that_cannot_be_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        DiffusionConfig(model="m", **changes)


def overflowing(folder: Path, **changes: Any) -> DiffusionSubgoals:
    """A model whose UNet is within float32 and beyond float16, as some editors' are."""
    pipeline = load_pipeline(str(folder))
    with torch.no_grad():
        pipeline.unet.conv_in.weight.mul_(3e4)
        pipeline.unet.conv_in.bias.fill_(6e4)
    broken = folder.parent / "overflowing"
    save_pipeline(pipeline, broken)
    return opened(broken, dtype="float16", guidance=1.0, image_guidance=1.0, **changes)


def test_a_computation_that_overflows_in_half_precision_is_an_error_and_no_grey_subgoal(folder: Path) -> None:
    with pytest.raises(NumericalError, match=r"NaN or infinity in float16.*`dtype: float32`.*`numerical_failure: float32`"):
        overflowing(folder).generate(IMAGES[:1], TEXTS[:1], [1])


def test_or_it_goes_on_in_float32_and_says_so_once(folder: Path) -> None:
    model = overflowing(folder, numerical_failure="float32")
    with fallbacks.heard() as heard:
        first, again = (model.generate(IMAGES[:1], TEXTS[:1], [1])[0] for _ in range(2))
    assert [(fallback.model, fallback.instead) for fallback in heard] == [(model.id, "float32")]
    np.testing.assert_array_equal(first, again)
    assert first.std() > 0
    with fallbacks.forbidden(), pytest.raises(ModelServerError, match="float16"):
        overflowing(folder, numerical_failure="float32").generate(IMAGES[:1], TEXTS[:1], [1])


@pytest.mark.parametrize("level", [0, 128])
def test_a_picture_of_one_colour_is_no_subgoal_of_a_picture_that_is_not(level: int) -> None:
    flat = np.full_like(IMAGES[0], level)
    with pytest.raises(NumericalError, match=rf"one colour \({level}, {level}, {level}\).*safety checker"):
        check_imagined([flat], IMAGES[:1], "m")
    check_imagined([flat], [flat], "m")
    check_imagined(IMAGES[:1], [flat], "m")
