"""Runs in an environment of openpi's released packages; nothing of ours is here.

serve PORT      a policy behind the released server: it moves by what the state says, and fails when it is told to
ask URL         asks a server by the released client, and prints what it says as JSON
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
from openpi_client.base_policy import BasePolicy


class Moving(BasePolicy):
    """Ten actions along x, as long as the gripper is high."""

    def infer(self, obs: dict[str, Any]) -> dict[str, Any]:
        if obs["prompt"] == "fail":
            raise ValueError("told to fail")
        image, state = obs["observation/image"], obs["observation/state"]
        assert (image.shape, image.dtype) == ((224, 224, 3), np.uint8)
        assert (state.shape, state.dtype) == ((7,), np.float32)
        action = np.array([state[2] / 10, 0, 0, 0, 0, 0, 1], np.float32)
        return {"actions": np.tile(action, (10, 1)), "state": state}

    def reset(self) -> None:
        """Nothing to forget."""


def main() -> None:
    what, where = sys.argv[1:]
    if what == "serve":
        from openpi_server import WebsocketPolicyServer

        WebsocketPolicyServer(Moving(), host="127.0.0.1", port=int(where), metadata={"policy": "moving"}).serve_forever()
        return
    from openpi_client.websocket_client_policy import WebsocketClientPolicy

    client = WebsocketClientPolicy("127.0.0.1", int(where))
    observation = {"image": np.arange(12, dtype=np.uint8).reshape(2, 2, 3), "prompt": "open the drawer"}
    answer = client.infer(observation)
    said = {name: [str(value.dtype), value.tolist()] for name, value in answer.items() if isinstance(value, np.ndarray)}
    sys.stdout.write(json.dumps({"metadata": client.get_server_metadata(), **said}) + "\n")


if __name__ == "__main__":
    main()
