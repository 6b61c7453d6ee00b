"""What all tests share: the GL library, how Hypothesis runs, and the tiny models of `soar pretrain`."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import settings

# The headless GL library is chosen before any test imports MuJoCo, which reads the choice when it is imported.
import soar.sim.rendering  # noqa: F401

# A shell starts what runs in its background with SIGINT ignored, and children inherit that: nobody would hear Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says nothing on a machine that is shared.
settings.register_profile("soar", deadline=None)
settings.load_profile("soar")


class Pretrained(NamedTuple):
    """What the tiny `soar pretrain` left."""

    data: Path
    weights: Path
    manifest: dict[str, Any]
    preset: str
    demonstrations: str
    pictures: str
    corrections: str


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Pretrained:
    from soar.improve.preset import load_preset
    from soar.pretraining.pretrain import pretrain
    from tests.improve.tiny import CORRECTIONS, DEMONSTRATIONS, PICTURES, PRESET, write

    folder = tmp_path_factory.mktemp("pretrained")
    preset = write(folder, "tiny.yaml", PRESET)
    kinds = {"demonstrations": DEMONSTRATIONS, "pictures": PICTURES, "corrections": CORRECTIONS}
    paths = {kind: write(folder, f"{kind}.yaml", text) for kind, text in kinds.items()}
    manifest = pretrain(load_preset(preset).pretraining, folder / "data", folder / "weights", **paths)
    return Pretrained(folder / "data", folder / "weights", manifest, preset, **paths)
