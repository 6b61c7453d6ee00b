from __future__ import annotations

from pathlib import Path

import pytest

from soar.errors import ConfigError
from soar.scenes import load_scene, read_scene


def write(folder: Path, text: str, name: str = "desk.yaml") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_a_task_in_anybodys_words_brings_its_question(tmp_path: Path) -> None:
    scene = load_scene(
        write(
            tmp_path,
            "tasks:\n  - put the carrot on the blue plate\n"
            "  - instruction: Put the carrot next to the lemon.\n    question: Is the carrot next to the lemon?\n"
            "    feasible_answer: no\n    objects: [carrot, lemon]\n",
        )
    )
    by_rule, by_hand = scene.tasks
    assert (by_rule.question, by_rule.feasible_answer) == ("Is the carrot on the blue plate?", False)
    assert by_hand.instruction == "Put the carrot next to the lemon"
    assert (by_hand.question, by_hand.feasible_answer) == ("Is the carrot next to the lemon?", False)
    assert by_hand.objects == ("carrot", "lemon")


def test_what_the_message_says_about_a_missing_question_works(tmp_path: Path) -> None:
    path = write(tmp_path, "tasks: [put the carrot next to the lemon]\n")
    with pytest.raises(ConfigError) as caught:
        load_scene(path)
    lines = str(caught.value).splitlines()
    advice = "\n".join(
        lines[1 : lines.index("      feasible_answer: no   # the answer while there is still something to do") + 1]
    )
    fixed = load_scene(write(tmp_path, advice.replace("Is …?", "Is the carrot next to the lemon?").replace("  tasks", "tasks")))
    assert fixed.tasks[0].instruction == "put the carrot next to the lemon"


def test_questions_of_a_file_count_less_than_the_tasks_own_and_more_than_the_patterns(tmp_path: Path) -> None:
    question = "put the carrot on the plate:\n  question: Does the carrot lie on the plate?\n  feasible_answer: false\n"
    questions = write(tmp_path, question, "questions.yaml")
    plain = write(tmp_path, "tasks: [put the carrot on the plate]\nquestions: questions.yaml\n")
    assert load_scene(plain).tasks[0].question == "Does the carrot lie on the plate?"
    own = "tasks: [{instruction: put the carrot on the plate, question: 'Carrot on plate?', feasible_answer: no}]\n"
    assert load_scene(write(tmp_path, own + "questions: questions.yaml\n")).tasks[0].question == "Carrot on plate?"
    without = write(tmp_path, "tasks: [put the carrot on the plate]\n")
    assert load_scene(without).tasks[0].question == "Is the carrot on the plate?"
    assert load_scene(without, Path(questions)).tasks[0].question == "Does the carrot lie on the plate?"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tasks: [{question: 'Is it?'}]", "a task needs `instruction`"),
        ("tasks: [{instruction: wave, question: 'Is it'}]", r"desk\.yaml: wave.*(question mark|feasible_answer)"),
        ("tasks: [{instruction: wave, qestion: 'Is it?'}]", "unknown key 'qestion'; did you mean 'question'"),
        ("tasks: [open the drawer, open the drawer]", "stands more than once"),
        ("tasks: []", "no tasks"),
        ("objects: [plate]\ntasks: [put the carrot on the plate]", "names 'carrot', which is not among its objects"),
        ("tasks: [open the drawer]\nquestions: none.yaml", r"none\.yaml: cannot be read"),
    ],
)
def test_a_bad_scene_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_scene(write(tmp_path, text))


def test_the_ten_scenes_of_the_paper_are_scenes_for_any_robot() -> None:
    for number in range(1, 11):
        assert read_scene(f"scene{number}").scene().tasks


def test_a_scene_extends_another_and_what_it_says_itself_counts_more(tmp_path: Path) -> None:
    write(tmp_path, "open the drawer:\n  question: Is it open?\n  feasible_answer: no\n", "words.yaml")
    write(
        tmp_path,
        "objects: [drawer]\ntasks: [open the drawer]\nquestions: words.yaml\nappearance: {table: slate, light: 0.9}\n",
        "lab.yaml",
    )
    (tmp_path / "dim").mkdir()
    dim = read_scene(write(tmp_path / "dim", "extends: ../lab.yaml\nappearance: {light: 0.5}\n", "dim.yaml"))
    assert (dim.name, dim.objects) == ("dim", ("drawer",))
    assert dim.appearance == {"table": "slate", "light": 0.5}
    assert dim.scene().tasks[0].question == "Is it open?"
    by_name = read_scene(write(tmp_path, "extends: scene4\nappearance: {light: 0.5}\n"))
    assert by_name.appearance == read_scene("scene4").appearance | {"light": 0.5}
    with pytest.raises(ConfigError, match="extends itself"):
        read_scene(write(tmp_path, "extends: desk.yaml\n"))
