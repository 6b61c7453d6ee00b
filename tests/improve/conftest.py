from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from soar.improve.preset import load_preset
from soar.improve.pretrain import pretrain

from .tiny import DEMONSTRATIONS, PICTURES, PRESET, STRAYS, write


class Pretrained(NamedTuple):
    """What the tiny `soar pretrain` left."""

    data: Path
    weights: Path
    manifest: dict[str, Any]
    preset: str
    demonstrations: str
    pictures: str
    strays: str


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Pretrained:
    folder = tmp_path_factory.mktemp("pretrained")
    preset = write(folder, "tiny.yaml", PRESET)
    kinds = {"demonstrations": DEMONSTRATIONS, "pictures": PICTURES, "strays": STRAYS}
    paths = {kind: write(folder, f"{kind}.yaml", text) for kind, text in kinds.items()}
    manifest = pretrain(load_preset(preset), folder / "data", folder / "weights", **paths)
    return Pretrained(folder / "data", folder / "weights", manifest, preset, **paths)
