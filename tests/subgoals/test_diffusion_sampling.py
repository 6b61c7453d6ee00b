"""The sampling loop: what the released pipeline computes, with nothing done twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from soar.subgoals.diffusion import DiffusionConfig, DiffusionSubgoals, load_pipeline
from soar.subgoals.diffusion_sampling import SAMPLERS, DiffusionSampler, DiffusionSamplingConfig

from .tiny_diffusion import save_tiny_pipeline

IMAGES = [np.random.default_rng(i).integers(0, 256, (32, 32, 3), dtype=np.uint8) for i in range(3)]
TEXTS = ["open the drawer", "put the carrot on the plate", "fold the cloth"]
SEEDS = [4, 5, 6]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_pipeline(tmp_path_factory.mktemp("editing") / "tiny")


class Counting:
    """A UNet that notes how many images each call has."""

    def __init__(self, pipeline: Any) -> None:
        self.unet, self.rows = pipeline.unet, list[int]()

    def __call__(self, noisy: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        self.rows.append(len(noisy))
        return self.unet(noisy, *arguments, **options)


def edited(pipeline: Any, unet: Any = None, **changes: Any) -> torch.Tensor:
    editor = DiffusionSampler(pipeline, DiffusionSamplingConfig(**{"image_size": 32, "steps": 4, **changes}), unet)
    images = torch.from_numpy(np.stack(IMAGES)).permute(0, 3, 1, 2) / 127.5 - 1
    noise = torch.stack([torch.randn(editor.noise_shape, generator=torch.Generator().manual_seed(seed)) for seed in SEEDS])
    return editor.edit(images, TEXTS, noise)


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
@pytest.mark.parametrize("weights", [(7.5, 2.0), (2.0, 1.0)])
def test_it_computes_what_the_released_pipeline_computes(folder: Path, sampler: str, weights: tuple[float, float]) -> None:
    changes = {"sampler": sampler, "steps": 5, "guidance": weights[0], "image_guidance": weights[1], "image_size": 32}
    ours = DiffusionSubgoals.load(DiffusionConfig(model=str(folder), **changes)).generate(IMAGES, TEXTS, SEEDS)
    stock = load_pipeline(str(folder))
    stock.scheduler = DiffusionSampler(stock, DiffusionSamplingConfig(**changes))._scheduler
    theirs = stock(
        prompt=TEXTS,
        image=[Pillow.fromarray(image) for image in IMAGES],
        num_inference_steps=5,
        guidance_scale=weights[0],
        image_guidance_scale=weights[1],
        generator=[torch.Generator().manual_seed(seed) for seed in SEEDS],
        output_type="np",
    ).images
    assert np.abs(np.stack(ours).astype(float) - 255 * theirs).max() <= 1


def test_all_branches_of_all_images_are_one_call_a_step(folder: Path) -> None:
    pipeline = load_pipeline(str(folder))
    unet = Counting(pipeline)
    edited(pipeline, unet)
    assert unet.rows == [9] * 4


def test_a_branch_that_counts_nothing_is_not_computed(folder: Path) -> None:
    pipeline = load_pipeline(str(folder))
    for weights, branches in {(7.5, 1.0): 2, (2.0, 2.0): 2, (1.0, 1.0): 1, (0.0, 0.0): 1}.items():
        unet = Counting(pipeline)
        edited(pipeline, unet, guidance=weights[0], image_guidance=weights[1])
        assert unet.rows == [3 * branches] * 4, weights


def test_guidance_can_be_limited_to_some_of_the_steps(folder: Path) -> None:
    pipeline = load_pipeline(str(folder))
    unet = Counting(pipeline)
    limited = edited(pipeline, unet, guidance_interval=(0.25, 0.75))
    assert unet.rows == [3, 9, 9, 3]
    assert not torch.equal(limited, edited(pipeline))
    config = DiffusionConfig(model=str(folder), guidance_interval=(0.25, 0.75), image_size=32, spacing="trailing")
    assert DiffusionSubgoals.load(config).id.endswith("-ddim50-7.5-2-trailing-guided0.25to0.75")


def test_the_spacing_reaches_the_sampler(folder: Path) -> None:
    pipeline = load_pipeline(str(folder))
    goals = {spacing: edited(pipeline, spacing=spacing) for spacing in (None, "leading", "trailing", "linspace")}
    assert torch.equal(goals[None], goals["leading"])
    assert not torch.equal(goals["leading"], goals["trailing"])
    assert not torch.equal(goals["trailing"], goals["linspace"])


def test_an_image_is_encoded_once_a_batch_and_a_text_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = DiffusionSubgoals.load(DiffusionConfig(model=str(folder), image_size=32, steps=1))
    pipeline, seen, read = model._sampler.pipeline, list[int](), list[int]()
    encode, forward = pipeline.vae.encode, pipeline.text_encoder.forward
    monkeypatch.setattr(pipeline.vae, "encode", lambda images: seen.append(len(images)) or encode(images))
    monkeypatch.setattr(pipeline.text_encoder, "forward", lambda ids, **kw: read.append(len(ids)) or forward(ids, **kw))
    a, b, again = model.generate([IMAGES[0], IMAGES[1], IMAGES[0]], [TEXTS[0]] * 3, [1, 1, 1])
    assert np.array_equal(a, again)
    assert not np.array_equal(a, b)
    model.generate(IMAGES[:1], TEXTS[:1], [2])
    assert (seen, read) == ([2, 1], [2])  # the instruction, and none


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_comes_to_nearly_the_same(folder: Path, dtype: Any) -> None:
    config = {"model": str(folder), "image_size": 32, "steps": 3, "guidance": 2.0, "image_guidance": 1.5}
    whole, half = (DiffusionSubgoals.load(DiffusionConfig(**config, dtype=kind)) for kind in ("float32", dtype))
    assert half._sampler.dtype is getattr(torch, dtype)
    pairs = zip(whole.generate(IMAGES, TEXTS, SEEDS), half.generate(IMAGES, TEXTS, SEEDS), strict=True)
    assert max(np.abs(a.astype(int) - b).mean() for a, b in pairs) < 4


def test_a_compiled_model_sees_few_shapes_and_gives_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compilation itself takes minutes; what surrounds it is tested with a compiler that only looks."""
    rows: list[int] = []

    def compile(unet: Any, *, dynamic: bool) -> Any:
        assert not dynamic
        return lambda noisy, *rest, **options: rows.append(len(noisy)) or unet(noisy, *rest, **options)

    monkeypatch.setattr(torch, "compile", compile)
    plain, compiled = (
        DiffusionSubgoals.load(DiffusionConfig(model=str(folder), image_size=32, steps=1, batch_size=6, compile=on))
        for on in (False, True)
    )
    for count in (1, 2, 3, 5):
        images, texts, seeds = (IMAGES * 2)[:count], (TEXTS * 2)[:count], range(count)
        ours, theirs = (model.generate(images, texts, seeds) for model in (compiled, plain))
        assert len(ours) == count
        assert max(np.abs(a.astype(int) - b).max() for a, b in zip(ours, theirs, strict=True)) <= 1
    assert rows == [3, 6, 12, 18]
