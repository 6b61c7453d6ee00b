"""The headless GL library is chosen before any test imports MuJoCo, which reads the choice when it is imported."""

from hypothesis import settings

import soar.sim.rendering  # noqa: F401

# How long an example takes says nothing on a machine that is shared.
settings.register_profile("soar", deadline=None)
settings.load_profile("soar")
