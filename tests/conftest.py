"""The headless GL library is chosen before any test imports MuJoCo, which reads the choice when it is imported."""

import soar.sim.rendering  # noqa: F401
