"""Tables for people: on the console after a run, and in Markdown files, where `make tables` regenerates them.

A Markdown file holds `<!-- table:NAME -->` … `<!-- /table -->`; what stands between is replaced by the table of
`results/NAME.json`, looked for beside the file and in the folders above it:

    python -m soar.reports.docs_tables README.md docs/*.md
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from soar.errors import SoarError
from soar.evaluation.results import read_results
from soar.evaluation.statistics import Rate, fisher_p, p_value, short
from soar.evaluation.trials import Evaluation
from soar.files import write_text

logger = logging.getLogger(__name__)
_FEW_TASKS = 8
"""Of several scenes: as many have a line each."""
_MARKED = re.compile(r"(<!-- table:(?P<name>[\w.-]+) -->\n)(?P<table>.*?)(<!-- /table -->)", re.DOTALL)


def comparison_table(before: Evaluation, after: Evaluation) -> Table:
    """Return a console table of each task's success rate before and after, with 95 % intervals."""
    table = Table(
        "task", "before", "after", "change", title=f"{before.variant} → {after.variant}, success rate [95 % interval]"
    )
    old, new = before.by_task(), after.by_task()
    none = Rate(successes=0, trials=0)
    for task in dict.fromkeys((*old, *new)):
        table.add_row(task, *_cells(old.get(task, none), new.get(task, none)))
    table.add_section()
    table.add_row("all tasks", *_cells(before.rate(), after.rate()), style="bold")
    return table


def results_to_markdown(results: Mapping[str, Any]) -> str:
    """Return a results file as a Markdown table, and under it the command that regenerates it.

    Rows with `successes` become one line a variant, or with several scenes one line a scene (of few tasks, one a task); the
    p-values are Fisher's, one-sided, for the variant named `improved` being better. Other rows are shown as they are.

    Args:
        results: The content of a results file, see `soar.evaluation.results`.
    """
    rows: list[dict[str, Any]] = results["rows"]
    lines = _success_table(rows) if rows and all("successes" in row for row in rows) else _plain_table(rows)
    source = ", ".join(str(results[key]) for key in ("revision", "date", "machine") if results.get(key))
    if results.get("caption"):
        lines += ["", str(results["caption"])]
    return "\n".join([*lines, "", f"`{results.get('command', '')}`" + (f" ({source})" if source else "")]) + "\n"


def regenerate(path: Path) -> bool:
    """Rewrite the marked tables of one Markdown file; returns whether it changed.

    Raises:
        SoarError: The file or a results file is missing or damaged, or a marker is not closed.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SoarError(f"{path}: cannot be read ({error.strerror})") from error
    opened, closed = text.count("<!-- table:"), len(_MARKED.findall(text))
    if opened != closed:
        raise SoarError(
            f"{path}: {opened} tables are opened and {closed} are whole; "
            "write `<!-- table:NAME -->` and `<!-- /table -->` on lines of their own."
        )

    def table(found: re.Match[str]) -> str:
        return f"{found[1]}{results_to_markdown(read_results(_results_file(path, found['name'])))}{found[4]}"

    replaced = _MARKED.sub(table, text)
    if replaced != text:
        write_text(path, replaced)
    return replaced != text


def main(arguments: Sequence[str] | None = None) -> int:
    """Regenerate the tables of the given Markdown files; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m soar.reports.docs_tables", description="Regenerate tables from results/.")
    parser.add_argument("files", nargs="+", type=Path, help="Markdown files")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for path in parser.parse_args(arguments).files:
        try:
            changed = regenerate(path)
        except SoarError as error:
            logger.error("%s", error)
            return 2
        logger.info("%s: %s", path, "changed" if changed else "up to date")
    return 0


def _cells(old: Rate, new: Rate) -> tuple[str, str, str]:
    change = "-" if not (old.trials and new.trials) else f"{new.value - old.value:+.2f}"
    return str(old), str(new), change


def _results_file(beside: Path, name: str) -> Path:
    folders = beside.resolve().parents
    for folder in folders:
        if (path := folder / "results" / f"{name}.json").is_file():
            return path
    raise SoarError(f"{beside}: there is no results/{name}.json beside it or above. Run the command that writes it first.")


def _success_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    tasks = list(dict.fromkeys(str(row["task"]) for row in rows))
    scenes = list(dict.fromkeys(row["scene"] for row in rows))
    cells: dict[tuple[Any, str], dict[str, Rate]] = {}
    for row in rows:
        rates = cells.setdefault((row["scene"], str(row["variant"])), {})
        task = str(row["task"])
        rates[task] = rates.get(task, Rate(successes=0, trials=0)) + Rate(successes=row["successes"], trials=row["trials"])
    totals = {key: sum(rates.values(), Rate(successes=0, trials=0)) for key, rates in cells.items()}
    if len(scenes) > 1:
        named = {(scene, task) for (scene, _), rates in cells.items() for task in rates}
        if len(named) > _FEW_TASKS or len(named) == len(scenes):
            return _rows_by_variants("scene", totals)
        by_task = {
            (f"{task} ({scene})", variant): rate for (scene, variant), rates in cells.items() for task, rate in rates.items()
        }
        return _rows_by_variants("task", by_task)
    # One scene: a line a variant, and its tasks beside it.
    tested = any(variant == "improved" for _, variant in totals)
    shown = tasks if len(tasks) > 1 else []
    head = ["variant", "success rate [95 %]", *(["improved better, p"] if tested else []), *shown]
    lines = []
    for (scene, variant), total in totals.items():
        best = totals.get((scene, "improved"))
        line = [variant, str(total)]
        if tested:
            line.append("-" if best is None or variant == "improved" else p_value(fisher_p(best, total)))
        none = Rate(successes=0, trials=0)
        line += [short(cells[scene, variant].get(task, none).value) for task in shown]
        lines.append(line)
    return _markdown(head, lines)


def _rows_by_variants(what: str, rates: Mapping[tuple[Any, str], Rate]) -> list[str]:
    """Return a line a scene or task with a column a variant, and under them all trials of a variant, where no line lacks it."""
    named, variants = ([*dict.fromkeys(key[i] for key in rates)] for i in (0, 1))
    lines = [[str(name), *(str(rates.get((name, variant), "-")) for variant in variants)] for name in named]
    together = []
    for variant in variants:
        found = [rates[name, variant] for name in named if (name, variant) in rates]
        together.append(str(sum(found, Rate(successes=0, trials=0))) if len(found) == len(named) else "-")
    return _markdown([what, *variants], [*lines, ["all", *together]])


def _plain_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    head = list(dict.fromkeys(key for row in rows for key in row))
    return _markdown(head, [[_plain(row.get(key)) for key in head] for row in rows])


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in (head, *lines)]
    return [f"| {' | '.join(line)} |" for line in (escaped[0], ["---"] * len(head), *escaped[1:])]


if __name__ == "__main__":
    sys.exit(main())
