from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from soar.errors import CheckpointError, ConfigError
from soar.policies.learned import LearnedPolicy
from soar.policies.onnx import ExportedPolicy
from soar.policies.onnx_export import export_policy
from soar.testing.contracts import check_policy
from tests.policies.test_learned import image, observe, save, save_flow, save_language

# A process in which torch, and what brings it, cannot be imported: the computer of a robot.
ROBOT = """
import json, sys
sys.modules |= dict.fromkeys(["torch", "safetensors", "lance", "pyarrow", "pydantic", "scipy"])
import numpy as np
from soar.policies.onnx import ExportedPolicy
from soar.types import Observation
policy = ExportedPolicy.load(sys.argv[1])
goals = json.loads(sys.argv[2])
images = [np.random.default_rng(seed).integers(0, 256, (90, 90, 3), np.uint8) for seed in range(4)]
observations = [Observation(image_HWC=image, state=np.zeros(7, np.float32)) for image in images[:2]]
steps = [policy.act(observations, goals or images[2:]).tolist() for _ in range(3)]
print(json.dumps({"id": policy.id, "steps": steps}))
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[LearnedPolicy, Path, float]]:
    """A policy of each kind, its file, and how much the two differ."""
    folder = tmp_path_factory.mktemp("exported")
    saved = {"goal": save, "flow": save_flow, "language": save_language}
    policies = {kind: make(folder / kind) for kind, make in saved.items()}
    files = {kind: folder / f"{kind}.onnx" for kind in saved}
    return {kind: (policy, files[kind], export_policy(policy, files[kind])) for kind, policy in policies.items()}


@pytest.mark.parametrize("kind", ["goal", "flow", "language"])
def test_a_process_without_torch_acts_as_torch_does(exported: dict[str, tuple[LearnedPolicy, Path, float]], kind: str) -> None:
    policy, path, difference = exported[kind]
    assert difference <= 1e-4
    goals = ["close the drawer", "open the drawer"] if kind == "language" else []
    done = subprocess.run(
        [sys.executable, "-c", ROBOT, str(path), json.dumps(goals)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["id"] == f"{policy.id}+onnx"
    policy.reset()
    observations = [observe(seed, 90) for seed in range(2)]
    for theirs in told["steps"]:
        ours = policy.act(observations, goals or [image(seed, 90) for seed in (2, 3)])
        np.testing.assert_allclose(np.array(theirs) / policy.action_std, ours / policy.action_std, atol=1e-4)


def test_an_exported_policy_keeps_the_contract_of_policies(
    exported: dict[str, tuple[LearnedPolicy, Path, float]],
) -> None:
    check_policy(ExportedPolicy.load(exported["flow"][1]))


def test_what_is_no_exported_policy_is_an_error_that_says_what_to_pass(
    exported: dict[str, tuple[LearnedPolicy, Path, float]], tmp_path: Path
) -> None:
    import onnx

    policy, path, _ = exported["goal"]
    with pytest.raises(CheckpointError, match=r"no such file.*soar export-policy"):
        ExportedPolicy.load(tmp_path / "none.onnx")
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"damaged or not in ONNX"):
        ExportedPolicy.load(damaged)
    model = onnx.load(str(path))
    metadata = {entry.key: entry for entry in model.metadata_props}["soar"]
    metadata.value = json.dumps(json.loads(metadata.value) | {"schema_version": 99})
    onnx.save(model, str(tmp_path / "newer.onnx"))
    with pytest.raises(CheckpointError, match=r"schema_version 99, this SOAR reads 1"):
        ExportedPolicy.load(tmp_path / "newer.onnx")
    model.metadata_props.remove(metadata)
    onnx.save(model, str(tmp_path / "other.onnx"))
    with pytest.raises(CheckpointError, match=r"an ONNX model, but no policy of SOAR"):
        ExportedPolicy.load(tmp_path / "other.onnx")
    with pytest.raises(ConfigError, match=r"--out: .* ends in \.onnx, got .*policy\.bin"):
        export_policy(policy, tmp_path / "policy.bin")


def test_a_network_that_computes_something_else_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = save(tmp_path / "policy")
    predict = ExportedPolicy.predict
    monkeypatch.setattr(ExportedPolicy, "predict", lambda *arguments: predict(*arguments) + 0.01)
    with pytest.raises(CheckpointError, match=r"differ by .* from torch's"):
        export_policy(policy, tmp_path / "policy.onnx")
    assert not list(tmp_path.glob("*.onnx*"))
