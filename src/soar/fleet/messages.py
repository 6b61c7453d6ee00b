"""What robots and operators say to a fleet's coordinator (`soar.fleet.coordinator`), as JSON."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

_Name = Field(max_length=80)
_Text = Field(default="", max_length=2000)


class Body(BaseModel):
    """What somebody says; nothing that is not known here."""

    model_config = ConfigDict(extra="forbid")


class HolderBody(Body):
    """See `soar.fleet.leases.Holder`."""

    host: str = _Name
    pid: int
    nonce: str = _Name
    lock: str = Field(default="", max_length=80)


class AcquireBody(BaseModel):
    """A robot wants a lease. What is not known here is passed over: who speaks another protocol is told so."""

    protocol: int
    robot: str = _Name
    holder: HolderBody
    soar: str = Field(default="", max_length=80)


class BeatBody(Body):
    """How a robot is, and what happened."""

    robot: str = _Name
    epoch: int
    phase: str = _Name
    scene: str = _Text
    instruction: str = _Text
    detail: str = _Text
    policy: str = _Text
    waiting: int = Field(default=0, ge=0, le=10_000_000)
    events: list[dict[str, Any]] = Field(default=[], max_length=1000)


class CountsBody(Body):
    """A robot asks for all attempts in its scene."""

    robot: str = _Name
    scene: str = _Text


class ReleaseBody(Body):
    """A robot gives its lease back."""

    robot: str = _Name
    epoch: int


class OrdersBody(Body):
    """An operator's orders for some robots, or for all."""

    do: Literal["pause", "resume", "stop"]
    robots: list[str] = Field(default=[], max_length=10_000)


class DeployBody(Body):
    """An operator brings a new policy."""

    policy: str = Field(min_length=1, max_length=2000)
    canary: str = _Text
    episodes: int = Field(default=20, ge=1, le=100_000)
