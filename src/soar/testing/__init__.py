"""Fakes and contract tests, for our tests and for users'.

The fakes stand in for a robot and for the three models, are deterministic, need no torch, and pass the same contract tests as
the real ones. `check_robot(my_robot)` and its siblings tell whether an implementation of your own keeps a protocol.
"""

from soar.testing.contracts import ContractError, check_learner, check_policy, check_robot, check_subgoal_model, check_vlm
from soar.testing.fakes import FakeFilmVLM, FakePolicy, FakeRobot, FakeSubgoals, FakeVLM

__all__ = [
    "ContractError",
    "FakeFilmVLM",
    "FakePolicy",
    "FakeRobot",
    "FakeSubgoals",
    "FakeVLM",
    "check_learner",
    "check_policy",
    "check_robot",
    "check_subgoal_model",
    "check_vlm",
]
