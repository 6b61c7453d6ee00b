"""Subgoals from the simulator."""

import numpy as np

from soar.subgoals.base import SubgoalModel
from soar.subgoals.oracle import OracleSubgoals
from soar.testing.contracts import check_subgoal_model


def test_it_keeps_the_contract_and_says_that_it_is_an_oracle() -> None:
    model: SubgoalModel = OracleSubgoals(lambda _text, seed: np.full((64, 64, 3), seed, np.uint8))
    check_subgoal_model(model)
    assert model.id.startswith("oracle")


def test_it_imagines_each_instruction_with_its_seed() -> None:
    asked = []

    def imagine(text: str, seed: int) -> np.ndarray:
        asked.append((text, seed))
        return np.full((8, 8, 3), seed, np.uint8)

    goals = OracleSubgoals(imagine).generate(
        [np.zeros((8, 8, 3), np.uint8)] * 2, ["open the drawer", "close the drawer"], [3, 4]
    )
    assert asked == [("open the drawer", 3), ("close the drawer", 4)]
    assert [int(goal[0, 0, 0]) for goal in goals] == [3, 4]
