"""POST /v1/actions: observations and goals to chunks of actions, batched over all robots that ask.

The server remembers nothing: a request says how often its robot was looked at, and the client keeps what was planned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from soar.policies.chunked import PlanningPolicy
from soar.policies.remote import KIND
from soar.remote.wire import WireError, unpack
from soar.serving.application import ServiceConfig, check_count, new_application
from soar.serving.batching import Batcher
from soar.types import STATE_DIM, Goal, Observation

_LONGEST = 500
Number = Annotated[float, Field(allow_inf_nan=False)]
Question = tuple[Observation, Goal, int]


class ActionItem(BaseModel):
    """What one robot sees and wants."""

    image: dict[str, Any]
    state: Annotated[list[Number], Field(min_length=STATE_DIM, max_length=STATE_DIM)]
    goal: dict[str, Any] | Annotated[str, Field(min_length=1, max_length=_LONGEST)]
    look: int = Field(ge=0, lt=2**31)


class ActionRequest(BaseModel):
    """What some robots see and want."""

    items: list[ActionItem]


def policy_application(policy: PlanningPolicy, config: ServiceConfig) -> FastAPI:
    """Return the application that serves a policy."""

    def plan(items: list[Question]) -> Sequence[NDArray[np.float32]]:
        return list(policy.plan([seen for seen, _, _ in items], [goal for _, goal, _ in items], [look for *_, look in items]))

    batcher = Batcher(plan, config.batch)
    about = {
        "conditioning": policy.conditioning,
        "execute": policy.execute,
        "image_size": policy.image_size,
        "action_std": policy.action_std.tolist(),
    }
    app = new_application(KIND, policy.id, batcher, about)

    def question(item: ActionItem) -> Question:
        if isinstance(item.goal, str) is not (policy.conditioning == "language"):
            raise WireError(f"{policy.id} follows {'instructions' if policy.conditioning == 'language' else 'goal images'}")
        image = unpack(item.image, config.limits)
        goal = item.goal if isinstance(item.goal, str) else unpack(item.goal, config.limits)
        return Observation(image_HWC=image, state=np.array(item.state, np.float32)), goal, item.look

    @app.post("/v1/actions")
    async def actions(request: ActionRequest) -> dict[str, Any]:
        check_count(len(request.items), config.limits)
        chunks = await batcher(await asyncio.to_thread(lambda: [question(item) for item in request.items]))
        return {"model": policy.id, "chunks": [chunk_HD[: policy.execute].tolist() for chunk_HD in chunks]}

    return app
