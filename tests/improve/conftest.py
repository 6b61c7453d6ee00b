from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from soar.improve.preset import load_preset
from soar.improve.pretrain import pretrain

from .tiny import DEMONSTRATIONS, PICTURES, PRESET, write


class Pretrained(NamedTuple):
    """What the tiny `soar pretrain` left."""

    data: Path
    weights: Path
    manifest: dict[str, Any]
    preset: str
    demonstrations: str
    pictures: str


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Pretrained:
    folder = tmp_path_factory.mktemp("pretrained")
    preset = write(folder, "tiny.yaml", PRESET)
    demonstrations, pictures = write(folder, "d.yaml", DEMONSTRATIONS), write(folder, "p.yaml", PICTURES)
    manifest = pretrain(
        load_preset(preset), folder / "data", folder / "weights", demonstrations=demonstrations, pictures=pictures
    )
    return Pretrained(folder / "data", folder / "weights", manifest, preset, demonstrations, pictures)
