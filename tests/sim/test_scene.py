from __future__ import annotations

from pathlib import Path

import pytest

from soar.errors import ConfigError, UnknownNameError
from soar.sim.catalogue import objects, tables
from soar.sim.scene import load_scene

SCENES = [f"scene{number}" for number in range(1, 11)]
GOOD = "objects: [wooden bowl, green block]\ntasks: [put the green block in the wooden bowl]\n"


def write(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text)
    return str(path)


def test_a_scene_of_ones_own_is_loaded_by_its_path(tmp_path: Path) -> None:
    scene = load_scene(write(tmp_path, GOOD + "appearance: {table: slate}"))
    assert scene.name == "mine"
    assert scene.appearance.table == "slate"
    assert scene.parsed_tasks()[0].question == "Is the green block in the wooden bowl?"
    assert scene.workspace.contains((0.3, 0.0, 0.1))


def test_an_unknown_scene_is_answered_with_those_that_exist() -> None:
    said = r"unknown scene 'scen1'; did you mean 'scene1'\? Valid choices: scene1, scene1-far, scene2"
    with pytest.raises(UnknownNameError, match=said):
        load_scene("scen1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "tabel: slate", r"unknown key 'tabel'.*In .*mine\.yaml"),
        (GOOD + "appearance: {tabel: slate}", r"unknown key 'tabel'; did you mean 'table'\?.*mine\.yaml: appearance"),
        (GOOD + "appearance: {table: marble}", r"unknown table 'marble'.*Valid choices: .*maple.*In scene 'mine'"),
        (GOOD + "appearance: {field_of_view_deg: 0}", r"field_of_view_deg is 0"),
        (GOOD + "appearance: {field_of_view_deg: wide}", r"mine\.yaml: appearance: field_of_view_deg: .*number"),
        (GOOD + "appearance: {camera_position: [0.3, 0, 0.5], camera_target: [0.3, 0, 0]}", r"must not be straight below"),
        (GOOD + "appearance: {light_direction: [0, 0, 0]}", r"light_direction is zero"),
        (GOOD + "appearance: {barrier_opacity: 2}", r"barrier_opacity 2"),
        (GOOD + "workspace: {low: [0, 0, 0]}", r"mine\.yaml: workspace.high"),
        ("tasks: []", r"mine\.yaml: objects"),
        ("objects: [green blok]\ntasks: []", r"unknown object 'green blok'; did you mean 'green block'\?.*In scene 'mine'"),
        (
            "objects: [wooden bowl]\ntasks: [put the green block in the wooden bowl]",
            r"names 'green block', which is not among its objects: wooden bowl\. Add it under `objects` or remove the task",
        ),
        (
            "objects: [wooden bowl]\ntasks: [juggle]",
            r"no question for 'juggle'\. Write it below the task",
        ),
        ("objects: [cloth, lemon]\ntasks: []", r"'cloth' needs the table to itself; remove the other objects or the cloth"),
        ("objects: [", r"mine\.yaml: not valid YAML"),
        ("- a list", r"mine\.yaml: expected a mapping"),
    ],
)
def test_a_bad_scene_file_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_scene(write(tmp_path, text))


def test_the_ten_scenes_show_what_the_pretraining_data_does_not() -> None:
    scenes = [load_scene(name) for name in SCENES]
    shown = {name for scene in scenes for name in scene.objects}
    assert not objects()["cloth"].pretraining
    shown.remove("cloth")  # the paper counts 19 objects besides
    assert len(shown) == 19
    assert sum(not objects()[name].pretraining for name in shown) == 14
    used = {scene.appearance.table for scene in scenes}
    assert len(used) == 5
    assert sum(not tables()[name].pretraining for name in used) == 3


@pytest.mark.parametrize("name", SCENES)
def test_tasks_come_in_pairs_that_undo_each_other(name: str) -> None:
    questions = [task.question for task in load_scene(name).parsed_tasks()]
    assert len(questions) % 2 == 0
    assert all(questions.count(q) == 2 or " side of the table?" in q for q in questions)
