from __future__ import annotations

from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray

from soar.cli import main
from soar.configuration import CONFIGS
from soar.errors import CheckpointError, UnknownNameError
from soar.policies.learned import LearnedPolicy, read_lineage
from soar.policies.network import images_to_tensor
from soar.policies.released import import_checkpoint
from soar.testing.contracts import check_policy

FIXTURES = Path(__file__).parent.parent / "fixtures" / "released"
NAMES = ("resnet34", "resnet18-coordinates", "resnet50")


def import_fixture(name: str, folder: Path) -> LearnedPolicy:
    return import_checkpoint(FIXTURES / f"{name}.msgpack", folder, actions="bridge", image_size=64)


@pytest.mark.parametrize("name", NAMES)
def test_an_imported_network_says_what_flax_said(name: str, tmp_path: Path) -> None:
    policy = import_fixture(name, tmp_path / "policy")
    expected = np.load(FIXTURES / f"{name}.npz")
    with torch.no_grad():
        mean = policy.network(images_to_tensor(expected["observation"]), images_to_tensor(expected["goal"])).numpy()
    assert np.abs(expected["mean"]).max() > 0.1
    np.testing.assert_allclose(mean, expected["mean"], atol=1e-4, rtol=0)


def test_an_imported_policy_is_a_policy_with_the_statistics_of_its_data(tmp_path: Path) -> None:
    policy = import_fixture("resnet34", tmp_path)
    check_policy(policy)
    bridge = yaml.safe_load((CONFIGS / "actions" / "bridge.yaml").read_text())
    np.testing.assert_allclose(policy.statistics.std, [*bridge["std"], 1.0], rtol=1e-6)
    np.testing.assert_allclose(policy.statistics.mean, [*bridge["mean"], 0.0], rtol=1e-6)
    assert policy.network.config.encoder.name == "resnet34"
    assert policy.network.config.head.hidden == (16, 16, 16)
    assert read_lineage(tmp_path).parent.endswith("resnet34.msgpack")


def encode(tree: Any, bfloat16: bool = False, chunks: int = 0) -> Any:
    """A tree as flax packs it; arrays as bfloat16, or in chunks, on request."""
    if isinstance(tree, dict):
        return {key: encode(value, bfloat16, chunks) for key, value in tree.items()}
    if not isinstance(tree, np.ndarray):
        return tree
    if chunks and tree.size > chunks:
        parts = np.array_split(tree.ravel(), chunks)
        shape = {str(axis): size for axis, size in enumerate(tree.shape)}
        named = {str(index): encode(part) for index, part in enumerate(parts)}
        return {"__msgpack_chunked_array__": True, "shape": shape, "chunks": named}
    if bfloat16 and tree.dtype == np.float32:
        values = (tree.view(np.uint32) >> 16).astype(np.uint16)
        return msgpack.ExtType(1, msgpack.packb((tree.shape, "bfloat16", values.tobytes())))
    return msgpack.ExtType(1, msgpack.packb((tree.shape, tree.dtype.name, tree.tobytes())))


def decode(name: str) -> Any:
    def array(_code: int, data: bytes) -> NDArray[Any]:
        shape, kind, values = msgpack.unpackb(data)
        return np.frombuffer(values, kind).reshape(shape)

    return msgpack.unpackb((FIXTURES / f"{name}.msgpack").read_bytes(), ext_hook=array, strict_map_key=False)


def test_half_precision_and_arrays_in_chunks_are_read(tmp_path: Path) -> None:
    tree = decode("resnet18-coordinates")
    expected = import_fixture("resnet18-coordinates", tmp_path / "whole").network.state_dict()
    for case, changes in (("half", {"bfloat16": True}), ("chunks", {"chunks": 12})):
        path = tmp_path / case
        path.write_bytes(msgpack.packb(encode(tree, **changes)))  # type: ignore[arg-type]
        state = import_checkpoint(path, tmp_path / f"{case}-policy", actions="bridge").network.state_dict()
        for name, value in state.items():
            np.testing.assert_allclose(value, expected[name], rtol=2**-7 if case == "half" else 0, err_msg=name)


def test_a_folder_that_holds_the_checkpoint_and_one_nested_deeper_are_found(tmp_path: Path) -> None:
    nested = {"agent": {"state": {"params": decode("resnet34")["params"]}}}
    (tmp_path / "download" / "checkpoint").mkdir(parents=True)
    (tmp_path / "download" / "checkpoint" / "checkpoint").write_bytes(msgpack.packb(encode(nested)))
    assert main(["import-checkpoint", str(tmp_path / "download"), "--out", str(tmp_path / "policy"), "--image-size", "64"]) == 0
    ours = LearnedPolicy.load(tmp_path / "policy").network.state_dict()
    for name, value in import_fixture("resnet34", tmp_path / "other").network.state_dict().items():
        assert torch.equal(ours[name], value)


def test_what_does_not_fit_is_an_error_that_leaves_nothing(tmp_path: Path) -> None:
    tree = decode("resnet34")
    cases: dict[str, tuple[bytes, str]] = {"text": (b"no checkpoint", "not a Flax msgpack, or damaged|holds no ResNet")}
    whole = (FIXTURES / "resnet34.msgpack").read_bytes()
    cases["cut"] = (whole[: len(whole) // 2], "not a Flax msgpack, or damaged")
    cases["foreign"] = (msgpack.packb(encode({"params": {"Dense_0": {"kernel": np.zeros((2, 2), np.float32)}}})), "no ResNet")
    actor = tree["params"]["modules_actor"]
    film = {**actor["encoder"]["encoder"], "FilmConditioning_0": {"Dense_0": {"kernel": np.zeros((2, 2), np.float32)}}}
    actor = {**actor, "encoder": {"encoder": film}}
    cases["film"] = (msgpack.packb(encode({"params": actor})), r"FilmConditioning_0/Dense_0/kernel is one too many")
    actor = {**tree["params"]["modules_actor"], "Dense_0": {"kernel": np.zeros((16, 6), np.float32)}}
    cases["six"] = (msgpack.packb(encode({"params": actor})), r"mean/Dense_0/kernel should become \(7, 16\), is \(6, 16\)")
    for name, (data, message) in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CheckpointError, match=message):
            import_checkpoint(tmp_path / name, tmp_path / "policy", actions="bridge")
        assert not (tmp_path / "policy").exists()
    with pytest.raises(CheckpointError, match="there is no checkpoint at"):
        import_checkpoint(tmp_path / "nowhere", tmp_path / "policy", actions="bridge")
    with pytest.raises(UnknownNameError, match="unknown action 'bridje'; did you mean 'bridge'"):
        import_checkpoint(FIXTURES / "resnet34.msgpack", tmp_path / "policy", actions="bridje")


def test_a_policy_is_never_overwritten(tmp_path: Path) -> None:
    policy = import_fixture("resnet34", tmp_path)
    with pytest.raises(CheckpointError, match="holds a policy already"):
        import_fixture("resnet50", tmp_path)
    assert LearnedPolicy.load(tmp_path).id == policy.id
