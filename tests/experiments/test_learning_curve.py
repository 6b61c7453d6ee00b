"""A learning curve of the smallest model."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from soar.evaluation.results import read_results
from soar.experiments.learning_curve import learning_curve
from tests.conftest import Pretrained
from tests.improve.tiny import SCENE, write


def test_a_curve_has_a_row_a_checkpoint_and_a_picture_and_is_not_run_twice(tmp_path: Path, pretrained: Pretrained) -> None:
    said: list[str] = []

    def run() -> list[dict[str, object]]:
        said.clear()
        return learning_curve(
            preset=pretrained.preset,
            pretraining=pretrained.data / "demonstrations" / "episodes",
            run=tmp_path / "run",
            results=tmp_path / "results" / "curve.json",
            picture=tmp_path / "curve.svg",
            scene=write(tmp_path, "one.yaml", SCENE),
            samples=16 * 16 * 2,
            trials=1,
            workers=1,
            report=lambda what, done, total, note: said.append(f"{what} {done}/{total}"),
        )

    rows = run()
    assert said[:2] == ["train 1/32", "train 2/32"]
    assert [row["samples"] for row in rows] == [32, 64, 128, 256, 512]
    assert read_results(tmp_path / "results" / "curve.json")["rows"] == rows
    assert all(0 <= float(str(row["gripper accuracy"])) <= 1 for row in rows)
    assert {row["success"] for row in rows} <= {"0/1", "1/1"}
    texts = [element.text for element in ET.parse(tmp_path / "curve.svg").iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count("samples seen") == 3
    assert run() == rows
    assert not [line for line in said if line.startswith("train")]
