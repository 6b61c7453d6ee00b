"""Folders of small models."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from soar.errors import CheckpointError, SoarError
from soar.nn.model_files import read_config, read_weights, save_model


@dataclass(frozen=True, kw_only=True)
class Config:
    width: int
    words: tuple[str, ...] = ()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(tmp_path / "m", "thing", Config(width=3, words=("a", "b")), nn.Linear(3, 2), {"seed": 7})
    return tmp_path / "m"


def test_a_saved_model_is_read_back(folder: Path) -> None:
    network = nn.Linear(3, 2)
    save_model(folder, "thing", Config(width=3, words=("a", "b")), network, {"seed": 7})
    copy = nn.Linear(3, 2)
    digest = read_weights(folder, copy)
    assert read_config(folder, "thing", Config) == Config(width=3, words=("a", "b"))
    torch.testing.assert_close(copy.weight, network.weight, atol=1e-3, rtol=1e-3)
    assert copy.weight.dtype == torch.float32
    assert json.loads((folder / "lineage.json").read_text()) == {"seed": 7}
    assert digest == read_weights(folder, nn.Linear(3, 2))


def test_other_weights_have_another_digest(folder: Path) -> None:
    before = read_weights(folder, nn.Linear(3, 2))
    save_model(folder, "thing", Config(width=3), nn.Linear(3, 2), {})
    assert read_weights(folder, nn.Linear(3, 2)) != before


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no thing in .*config\.json is missing"):
        read_config(tmp_path, "thing", Config)


def test_a_model_of_another_kind_is_refused(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="holds a thing, not a gadget"):
        read_config(folder, "gadget", Config)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"schema_version": 1, "kind": "thing", "config": {"width": "x"}}'])
def test_a_damaged_configuration_is_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match="damaged"):
        read_config(folder, "thing", Config)


def test_another_schema_version_is_refused(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 99'))
    with pytest.raises(CheckpointError, match="schema version 99"):
        read_config(folder, "thing", Config)


def test_damaged_missing_and_foreign_weights_are_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    with pytest.raises(CheckpointError, match="does not fit"):
        read_weights(folder, nn.Linear(3, 4))
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(CheckpointError, match="damaged"):
        read_weights(folder, nn.Linear(3, 2))
    path.unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors is missing"):
        read_weights(folder, nn.Linear(3, 2))


def test_weights_whose_configuration_was_not_written_are_refused(folder: Path) -> None:
    config = (folder / "config.json").read_text()
    save_model(folder, "thing", Config(width=3), nn.Linear(3, 2), {})
    (folder / "config.json").write_text(config)
    with pytest.raises(CheckpointError, match=r"not the weights that its config\.json belongs to"):
        read_weights(folder, nn.Linear(3, 2))


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SoarError, match="cannot write"):
        save_model(tmp_path / "file" / "m", "thing", Config(width=3), nn.Linear(3, 2), {})


def test_a_model_is_loaded_without_the_compiler_of_torch() -> None:
    script = """
import sys
from soar import load_policy, load_subgoal_model, load_vlm
from soar.base_models import default_weights
for name, load in (("policy", load_policy), ("language", load_policy), ("subgoal", load_subgoal_model), ("vqa", load_vlm)):
    load(str(default_weights(name)))
    assert "torch._dynamo" not in sys.modules, name  # some seconds of imports, for each process
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
