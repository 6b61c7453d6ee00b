"""Commands about frozen models, with the model that ships and people at pseudo-terminals."""

from __future__ import annotations

import json
import os
import pty
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image as Pillow

from soar.base_models import default_weights
from soar.cli import main
from soar.cli.pictures import read_picture, write_picture
from soar.episodes import EpisodeStore
from soar.errors import ConfigError
from soar.tasks.labelling import label_sample
from soar.terminal import Terminal
from soar.types import Label
from tests.episodes.builders import judged, make_episode

Fails = Callable[..., str]


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    store = EpisodeStore(tmp_path / "episodes", mode="create")
    for number in range(4):
        truth = Label(success=number < 2, probability=None, source="simulator")
        store.append(make_episode(f"e{number}", steps=2, size=64, labels=(judged(number < 3, probability=0.7), truth)))
    return store


def test_questions_of_a_scene_are_written_once_and_corrections_stay(
    tmp_path: Path, fails: Fails, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "questions.yaml"
    assert main(["tasks", "questions", "--scene", "scene1", "--out", str(out)]) == 0
    entries = yaml.safe_load(out.read_text())
    assert len(entries) == 4
    assert entries["put the red fruit in the wooden bowl"]["feasible_answer"] is False
    out.write_text(out.read_text().replace("Is the red fruit in", "Does the red fruit lie in"))
    assert main(["tasks", "questions", "--scene", "scene1", "--task", "open the drawer", "--out", str(out)]) == 0
    assert "Does the red fruit lie in" in out.read_text()
    before = out.read_text()
    assert "1 new questions of 5" in capsys.readouterr().out
    message = fails("tasks", "questions", "--task", "juggle", "--out", out)
    assert "no question for: juggle. Name a language model with --llm" in message
    assert out.read_text() == before
    assert "name a --scene, or a --task" in fails("tasks", "questions", "--out", out)


def test_the_judgements_in_a_store_are_measured(
    store: EpisodeStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "detector"
    assert main(["vlm", "evaluate", store.uri, "--out", str(out)]) == 0
    assert "3/4 = .75" in capsys.readouterr().out
    report = json.loads((out / "report.json").read_text())
    assert report["vlm"] == "as stored"
    assert (out / "mistakes.webp").exists()


def test_several_judges_are_compared_by_one_command(
    store: EpisodeStore, tmp_path: Path, capsys: pytest.CaptureFixture[str], fails: Fails
) -> None:
    out, results, vlm = tmp_path / "judges", tmp_path / "results.json", str(default_weights("vqa"))
    sees = ["last", "looks:3", "last+changed"]
    flags = ["--vlm", vlm, "--sees", *sees, "--out", str(out), "--results", str(results)]
    assert main(["vlm", "evaluate", store.uri, *flags]) == 0
    rows = json.loads(results.read_text())["rows"]
    assert [row["judge"] for row in rows] == sees
    assert rows == json.loads((out / "judges.json").read_text())["rows"]
    said = capsys.readouterr().out
    assert "| looks:3 |" in said
    assert "--sees last looks:3 last+changed" in said
    report = json.loads((out / "02" / "report.json").read_text())
    assert report["vlm"].endswith(" sees looks:3")
    assert {judgement["questions"] for judgement in report["judgements"]} == {3}
    assert "takes one picture a question" in fails("vlm", "evaluate", store.uri, "--vlm", vlm, "--sees", "film:4", "--out", out)
    assert "name one to use --sees" in fails("vlm", "evaluate", store.uri, "--sees", "changed", "--out", out)
    assert "names a judge twice" in fails("vlm", "evaluate", store.uri, "--vlm", vlm, "--sees", "last", "last", "--out", out)


def test_labels_by_a_person_outrank_the_models_and_are_not_asked_for_again(store: EpisodeStore) -> None:
    far, near = pty.openpty()
    seen = bytearray()

    def types() -> None:
        for line in (b"y\n", b"?\n", b"q\n"):
            while not seen.endswith(b"[y/n/?/q] "):
                seen.extend(os.read(far, 65536))
            seen.extend(b"|")
            os.write(far, line)

    thread = threading.Thread(target=types, daemon=True)
    thread.start()
    done, left = label_sample(store, Terminal(Path(os.ttyname(near))), name="ada", count=4, where="", seed=0)
    thread.join()
    os.close(near)
    os.close(far)
    assert (done, left) == (2, 2)
    mine = [label.success for record in store.episodes() for label in record.labels if label.source == "person:ada"]
    assert sorted(mine, key=str) == [None, True]
    with pytest.raises(ConfigError, match="--name"):
        label_sample(store, Terminal(), name=" ", count=1, where="", seed=0)


def test_pictures_that_cannot_be_read_or_written_say_so(tmp_path: Path, fails: Fails) -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    write_picture(tmp_path / "a.png", image)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), image)
    Pillow.fromarray(image).convert("L").save(tmp_path / "grey.png")
    assert read_picture(tmp_path / "grey.png").shape == (5, 7, 3)
    with pytest.raises(ConfigError, match=r"name a picture, for example .*a\.png"):
        write_picture(tmp_path / "a.doc", image)
    assert "cannot be read as a picture" in fails("vlm", "ask", tmp_path / "none.png", "Is it?", "--vlm", "human")


def test_an_unknown_model_is_explained(fails: Fails, tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))
    assert "no VQA model in gpt" in fails("vlm", "ask", tmp_path / "a.png", "Is it?", "--vlm", "gpt")


def test_a_subgoal_is_shown_beside_its_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    write_picture(tmp_path / "a.png", image)
    out = tmp_path / "imagined.png"
    picture = str(tmp_path / "a.png")
    assert main(["subgoal", "preview", picture, "open the drawer", "--out", str(out), "--seeds", "1", "2"]) == 0
    assert "2 subgoals of flow-" in capsys.readouterr().out
    shown = read_picture(out)
    assert shown.shape == (64, 192, 3)
    np.testing.assert_array_equal(shown[:, :64], image)
