"""A policy in an ONNX file that knows one action."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

ACTION = (0.002, 0.001, 0.0, 0.0, 0.0, 0.0, 1.0)


def tiny_policy(path: Path, id: str, action: Sequence[float] = ACTION) -> Path:
    """Write one; its id is what episodes name."""
    from onnx import TensorProto, helper, save

    images = ["batch", 32, 32, 3]
    graph = helper.make_graph(
        [
            helper.make_node("Shape", ["observation"], ["batch"], end=1),
            helper.make_node("Concat", ["batch", "rest"], ["shape"], axis=0),
            helper.make_node("Expand", ["action", "shape"], ["actions"]),
        ],
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.UINT8, images) for name in ("observation", "goal")],
        [helper.make_tensor_value_info("actions", TensorProto.FLOAT, ["batch", 1, 7])],
        [
            helper.make_tensor("rest", TensorProto.INT64, [2], [1, 7]),
            helper.make_tensor("action", TensorProto.FLOAT, [1, 1, 7], action),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    said = {
        "schema_version": 1,
        "id": id,
        "conditioning": "goal",
        "image_size": 32,
        "chunk": 1,
        "execute": 1,
        "action_std": [0.01] * 7,
        "instruction": {},
        "instructions": [],
        "embeddings": "",
    }
    helper.set_model_props(model, {"soar": json.dumps(said)})
    save(model, str(path))
    return path
