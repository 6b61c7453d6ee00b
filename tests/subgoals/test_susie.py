"""A synthetic msgpack of SuSIE's layout, and what comes out of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import torch

from soar.cli import main
from soar.errors import CheckpointError
from soar.nn.flax_checkpoints import read_flax
from soar.subgoals.diffusion import DiffusionConfig, DiffusionSubgoals
from soar.subgoals.susie import import_susie, torch_weights

from .tiny_diffusion import save_tiny_pipeline, tiny_unet


def packed(array: np.ndarray) -> msgpack.ExtType:
    body = (array.shape, array.dtype.name, array.tobytes())
    return msgpack.ExtType(1, msgpack.packb(body, use_bin_type=True))


def flax_tree(weights: dict[str, torch.Tensor]) -> dict[str, Any]:
    """The inverse of the conversion, written from Flax's side: modules have numbers behind an underscore, kernels are last."""
    tree: dict[str, Any] = {}
    for name, tensor in weights.items():
        *parts, leaf = re.sub(r"\.(\d+)", r"_\1", name).split(".")
        array = tensor.numpy()
        if leaf == "weight":
            leaf = "scale" if array.ndim == 1 else "kernel"
            array = array if array.ndim == 1 else array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.transpose()
        branch = tree
        for part in parts:
            branch = branch.setdefault(part, {})
        branch[leaf] = packed(np.ascontiguousarray(array))
    return tree


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """The msgpack, the configuration of its UNet, and a base."""
    folder, unet = tmp_path_factory.mktemp("susie"), tiny_unet()
    tree = flax_tree(unet.state_dict())
    # One array is so large that Flax would have split it.
    whole = unet.state_dict()["conv_in.weight"].numpy().transpose(2, 3, 1, 0)
    flat = np.ravel(whole)
    tree["conv_in"]["kernel"] = {
        "__msgpack_chunked_array__": True,
        "shape": {str(i): size for i, size in enumerate(whole.shape)},
        "chunks": {str(i): packed(part) for i, part in enumerate(np.array_split(flat, 11))},
    }
    (folder / "flax.msgpack").write_bytes(msgpack.packb(tree, use_bin_type=True))
    config = {k: v for k, v in unet.config.items() if not k.startswith("_")} | {"_class_name": "FlaxUNet2DConditionModel"}
    (folder / "config.json").write_text(json.dumps(config))
    return folder / "flax.msgpack", folder / "config.json", save_tiny_pipeline(folder / "base")


def test_every_weight_comes_back_in_torchs_layout(files: tuple[Path, Path, Path]) -> None:
    weights, expected = torch_weights(read_flax(files[0])), tiny_unet().state_dict()
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def test_the_converted_folder_imagines_what_the_original_does(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "susie"
    source, config, base = map(str, files)
    assert main(["import-susie", source, "--base", base, "--unet-config", config, "--out", str(out)]) == 0
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    goals = []
    for model in (base, out):
        subgoals = DiffusionSubgoals.load(DiffusionConfig(model=str(model), steps=2, image_size=32))
        goals.append(subgoals.generate([image], ["open the drawer"], [1])[0])
    np.testing.assert_array_equal(*goals)
    scheduler = json.loads((out / "scheduler" / "scheduler_config.json").read_text())
    assert (scheduler["beta_start"], scheduler["clip_sample"]) == (0.00085, False)
    with pytest.raises(CheckpointError, match="exists already"):
        import_susie(Path(source), base, out)


def test_weights_of_another_unet_are_refused_before_anything_is_written(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps(json.loads(files[1].read_text()) | {"cross_attention_dim": 24}))
    with pytest.raises(CheckpointError, match=r"does not fit the UNet: \d+ of another shape, such as .*attn2.*--unet-config"):
        import_susie(files[0], str(files[2]), tmp_path / "out", other)
    half = tmp_path / "half.msgpack"
    tree = flax_tree({name: tensor for name, tensor in tiny_unet().state_dict().items() if "mid_block" not in name})
    half.write_bytes(msgpack.packb(tree | {"extra": {"bias": packed(np.zeros(3))}}, use_bin_type=True))
    with pytest.raises(CheckpointError, match=r"\d+ missing, such as mid_block.*; 1 unknown, such as extra\.bias"):
        import_susie(half, str(files[2]), tmp_path / "out", files[1])
    with pytest.raises(CheckpointError, match=r"has no VAE.*--base"):
        import_susie(files[0], str(tmp_path), tmp_path / "out", files[1])
    assert not (tmp_path / "out").exists()
