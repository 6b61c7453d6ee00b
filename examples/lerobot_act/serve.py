"""LeRobot's ACT behind openpi's protocol, in LeRobot's environment: `python serve.py CHECKPOINT PORT`.

SOAR opens it by what stands under `policy` in `act.yaml`. ACT looks at pictures and state, and takes no instruction.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.policies.factory import make_pre_post_processors

from soar.testing.openpi_server import OpenPIServer

checkpoint, port = Path(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(1)
policy = ACTPolicy.from_pretrained(checkpoint).eval()
device = {"device_processor": {"device": str(policy.config.device)}}
prepared, said = make_pre_post_processors(policy.config, pretrained_path=str(checkpoint), preprocessor_overrides=device)


def infer(observation: Mapping[str, Any]) -> dict[str, Any]:
    """Answer with the next actions (`chunk_size`, 7)."""
    looked_at = {
        name: torch.from_numpy(np.array(observation[name])).permute(2, 0, 1).float() / 255
        for name in policy.config.image_features
    }
    state = torch.from_numpy(np.array(observation["observation.state"], np.float32))
    with torch.inference_mode():
        actions = said(policy.predict_action_chunk(prepared({**looked_at, "observation.state": state})))
    return {"actions": actions[0].numpy()}


with OpenPIServer(infer, {"policy": f"ACT of {checkpoint.resolve()}"}, port=port) as server:
    sys.stdout.write(f"{checkpoint} at {server.url}\n")
    sys.stdout.flush()
    server.wait()
