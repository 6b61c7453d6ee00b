from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from soar.errors import SoarError
from soar.evaluation import success_rows, write_results
from soar.evaluation.statistics import Rate
from soar.reports.docs_tables import comparison_table, main, regenerate, results_to_markdown
from tests.evaluation.examples import TASKS, evaluation


def test_the_console_table_has_each_task_before_and_after() -> None:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(comparison_table(evaluation([0, 0, 1, 0]), evaluation([1, 0, 1, 1], variant="improved")))
    text = console.export_text()
    assert "pretrained → improved" in text
    assert all(task in text for task in TASKS)
    assert "1/4 = .25 [.05, .70]" in text
    assert "3/4 = .75 [.30, .95]" in text
    assert "+0.50" in text


def test_success_rates_become_one_line_an_arm_with_fishers_p() -> None:
    rows = success_rows([evaluation([1, 0] * 30), evaluation([1, 1, 1, 0] * 15, variant="improved")])
    text = results_to_markdown({"command": "soar reproduce scene1", "date": "2030-01-01", "rows": rows})
    lines = text.splitlines()
    assert lines[0] == f"| variant | success rate [95 %] | improved better, p | {TASKS[0]} | {TASKS[1]} |"
    assert lines[2] == "| pretrained | 30/60 = .50 [.38, .62] | .004 | 1.00 | .00 |"
    assert lines[3] == "| improved | 45/60 = .75 [.63, .84] | - | 1.00 | .50 |"
    assert lines[-1] == "`soar reproduce scene1` (2030-01-01)"


def test_several_scenes_become_a_line_each_and_one_for_all() -> None:
    rows = [{"variant": "pretrained", "scene": s, "task": "open the drawer", "successes": s, "trials": 4} for s in (1, 2)]
    partial = {"variant": "scene", "scene": 2, "task": "open the drawer", "successes": 4, "trials": 4}
    lines = results_to_markdown({"command": "c", "rows": [*rows, partial]}).splitlines()
    assert lines[0] == "| scene | pretrained | scene |"
    assert lines[2] == f"| 1 | {Rate(successes=1, trials=4)} | - |"
    assert lines[3] == f"| 2 | {Rate(successes=2, trials=4)} | {Rate(successes=4, trials=4)} |"
    # A variant that was not tried everywhere has no rate over all.
    assert lines[4] == f"| all | {Rate(successes=3, trials=8)} | - |"


def test_a_few_tasks_of_several_scenes_become_a_line_each() -> None:
    tasks = [(1, "open the drawer"), (1, "close the drawer"), (2, "fold the cloth")]
    rows = [
        {"variant": "base", "scene": s, "task": t, "training_seed": seed, "successes": 1, "trials": 4}
        for s, t in tasks
        for seed in (0, 1)
    ]
    lines = results_to_markdown({"command": "c", "rows": rows}).splitlines()
    assert lines[0] == "| task | base |"
    assert lines[2:6] == [
        *(f"| {task} ({scene}) | {Rate(successes=2, trials=8)} |" for scene, task in tasks),
        f"| all | {Rate(successes=6, trials=24)} |",
    ]


def test_benchmarks_are_shown_as_they_are() -> None:
    rows = [{"metric": "rows|s", "ours": 20123.4, "peer": "lerobot", "theirs": None, "ratio": 2.5}]
    text = results_to_markdown({"command": "make bench", "rows": rows})
    assert "| metric | ours | peer | theirs | ratio |" in text
    assert "| rows\\|s | 2.012e+04 | lerobot | - | 2.5 |" in text


@pytest.fixture
def readme(tmp_path: Path) -> Path:
    write_results(tmp_path / "results" / "speed.json", "make bench", [{"metric": "steps/s", "ours": 7}])
    path = tmp_path / "docs" / "speed.md"
    path.parent.mkdir()
    path.write_text("# Speed\n<!-- table:speed -->\nstale\n<!-- /table -->\nAfter.\n")
    return path


def test_marked_tables_are_regenerated_and_the_rest_is_untouched(readme: Path) -> None:
    assert main([str(readme)]) == 0
    text = readme.read_text()
    assert "stale" not in text
    assert "| steps/s | 7 |" in text
    assert text.startswith("# Speed\n<!-- table:speed -->\n| metric")
    assert text.endswith("<!-- /table -->\nAfter.\n")
    assert not regenerate(readme)


def test_a_missing_results_file_is_named_and_the_exit_status_is_2(readme: Path, caplog: pytest.LogCaptureFixture) -> None:
    readme.write_text("<!-- table:nothing -->\n<!-- /table -->\n")
    assert main([str(readme)]) == 2
    assert "results/nothing.json" in caplog.text


def test_a_marker_that_is_not_closed_is_refused(readme: Path) -> None:
    readme.write_text("<!-- table:speed -->\n")
    with pytest.raises(SoarError, match="1 tables are opened and 0 are whole"):
        regenerate(readme)
