"""Recipes of the baselines, YAML files under `configs/baselines`: `laptop` fits two cores, `paper` is what is published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from soar.baselines.labeller_training import LabellerTrainingConfig
from soar.baselines.robofume import RoboFuMEConfig
from soar.configuration import load


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselinesConfig:
    """Recipes.

    Attributes:
        robofume: Actor and critics.
        labeller: DIAL's labeller; LCBC on its labels has the recipe of any LCBC.
    """

    robofume: RoboFuMEConfig
    labeller: LabellerTrainingConfig


def load_recipe(name: str, settings: Sequence[str] = ()) -> BaselinesConfig:
    """Load recipes by name or by the path of a YAML file.

    Args:
        name: Its name, or the path; a file may extend another one (`extends: laptop`).
        settings: Values that count more, such as `robofume.calql.alpha=1`.

    Raises:
        UnknownNameError: There is no such file.
        ConfigError: A value is invalid; the message names the file and the key.
    """
    return load(BaselinesConfig, "baselines", name, settings)
