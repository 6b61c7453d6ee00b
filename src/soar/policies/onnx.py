"""A policy as one ONNX file, for a robot's computer without torch: it needs onnxruntime, NumPy and OpenCV.

The file holds everything: the network, and as metadata under `soar` what else acting takes (JSON, see `ExportedPolicy.load`).
Its inputs and outputs mean the same in any language that runs ONNX:

    observation   (B, S, S, 3) uint8 RGB, brought to S pixels as `fit` in the metadata says (`soar.images`)
    goal          the same; of a language-conditioned policy `embedding` (B, E) float32 instead
    given         of a policy that takes both, which has `goal` and `embedding`: (B, 2) float32, 1 or 0, whether there is a goal
                  image and whether there is an instruction; what is not there may be anything, such as zeros
    noise         (B, H, 7) float32, standard normal; only if the head is a flow
    actions       (B, H, 7) float32 in physical units, see `soar.types.Action`; the gripper opens from 0.5 on

`soar.policies.onnx_export` writes it.

Shape suffixes: B batch (robots), S height and width, C channels, H actions of a chunk, D action dimensions, E embedding.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soar.cameras import MAIN
from soar.errors import CheckpointError, ConfigError
from soar.images import ImageFitter
from soar.policies.chunked import Both, PlanningPolicy, Told
from soar.policies.instructions import InstructionConfig, InstructionEncoder
from soar.untrusted import parse_json

SCHEMA_VERSION, OF_ANOTHER_CAMERA, OF_BOTH = 1, 2, 3
"""Of the metadata: with the main camera; with another one (`camera`); of a policy that takes goal images and instructions.
Versions from before know nothing of the latter ones."""
METADATA = "soar"
SUFFIX = ".onnx"
_REMEDY = "Pass a file that `soar export-policy` wrote."


class ExportedPolicy(PlanningPolicy):
    """A policy that onnxruntime computes; made by `load`.

    Args:
        session: The `onnxruntime.InferenceSession`.
        metadata: What the file says of itself.
    """

    def __init__(self, session: Any, metadata: dict[str, Any]) -> None:
        instruction = InstructionConfig(**metadata["instruction"])
        vectors_NE = np.frombuffer(base64.b64decode(metadata["embeddings"]), np.float32).reshape(-1, instruction.features)
        super().__init__(
            id=metadata["id"],
            conditioning=metadata["conditioning"],
            fitter=ImageFitter(size=int(metadata["image_size"]), fit=metadata.get("fit", "squash")),
            chunk=int(metadata["chunk"]),
            execute=int(metadata["execute"]),
            action_std=np.array(metadata["action_std"], np.float32),
            instructions=InstructionEncoder(instruction, dict(zip(metadata["instructions"], vectors_NE, strict=True))),
            camera=metadata.get("camera", MAIN),
        )
        self._session = session
        self._inputs = [value.name for value in session.get_inputs()]

    def predict(
        self,
        observation_BHWC: NDArray[np.uint8],
        goal: Told,
        noise_BHD: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Return chunks of actions (B, H, 7), see `PlanningPolicy.predict`."""
        values: dict[str, Any] = {"observation": observation_BHWC, "goal": goal, "embedding": goal, "noise": noise_BHD}
        if isinstance(goal, Both):
            values |= {"goal": goal.image, "embedding": goal.embedding, "given": goal.given_B2}
        (actions_BHD,) = self._session.run(["actions"], {name: values[name] for name in self._inputs})
        return np.asarray(actions_BHD)

    @classmethod
    def load(cls, path: Path | str, threads: int = 0) -> ExportedPolicy:
        """Load an exported policy; nothing else is needed.

        Args:
            path: The ONNX file.
            threads: That compute one network; 0 leaves it to onnxruntime.

        Raises:
            ConfigError: onnxruntime is not installed.
            CheckpointError: The file is missing, damaged, or another model.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise ConfigError(
                "policies in ONNX need onnxruntime: `pip install onnxruntime`, or `pip install 'soar-robot[onnx]'`"
            ) from error
        path = Path(path)
        if not path.is_file():
            raise CheckpointError(f"there is no exported policy at {path}: no such file. {_REMEDY}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        try:
            session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise CheckpointError(f"{path} is damaged or not in ONNX ({error}). {_REMEDY}") from error
        text = session.get_modelmeta().custom_metadata_map.get(METADATA)
        if text is None:
            raise CheckpointError(f"{path} is an ONNX model, but no policy of SOAR (no metadata {METADATA!r}). {_REMEDY}")
        metadata = parse_json(text)
        if metadata.get("schema_version") not in (SCHEMA_VERSION, OF_ANOTHER_CAMERA, OF_BOTH):
            raise CheckpointError(
                f"{path}: schema_version {metadata.get('schema_version')}, this SOAR reads {SCHEMA_VERSION} to {OF_BOTH}. "
                "Update SOAR."
            )
        return cls(session, metadata)
