"""The rules of docs/design.md that a reviewer would otherwise have to remember."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from soar.extras import EXTRAS
from tests.absent import without

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "soar"
MODULES = sorted(PACKAGE.rglob("*.py"))
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
DOCUMENTS += ROOT.glob("examples/*/README.md")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# The table of docs/design.md, from the top down. A room imports from itself, from rooms after it, and from the vocabulary: the
# modules directly under soar. `testing` is apart.
ROOMS = re.findall(
    r"^\| `(\w+)` \|", (ROOT / "docs" / "design.md").read_text(encoding="utf-8").partition("## Rooms")[2], re.MULTILINE
)
ROOMS = ROOMS[: ROOMS.index("testing")]
LONGEST_MODULE = 350

# What still imports from a room above its own: module, and what it takes there.
UPWARD: set[tuple[str, str]] = set()


@functools.cache
def parsed(path: Path) -> ast.Module:
    """What a file of Python says; read once, whoever asks."""
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def provided() -> Mapping[str, list[str]]:
    """Which distributions bring a module that is installed here; finding that out takes seconds."""
    return packages_distributions()


def room_of(module: Path) -> str:
    """The folder under soar that holds a module; empty for the vocabulary."""
    parts = module.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


@functools.cache
def imported_by(module: Path) -> tuple[str, ...]:
    """Full names of what a module imports; of `from a import b`, both `a` and `a.b`."""
    return tuple(_imported_by(module))


def _imported_by(module: Path) -> Iterator[str]:
    package = ("soar", *module.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(parsed(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            name = ".".join(filter(None, (base, node.module)))
            yield name
            yield from (f"{name}.{alias.name}" for alias in node.names)


def distribution(requirement: str) -> str:
    """The name of the package in a requirement such as `torch>=2.6`, normalised."""
    found = re.match(r"[\w.-]+", requirement)
    assert found, requirement
    return found[0].lower().replace("_", "-")


def test_the_rooms_are_those_of_the_design_document() -> None:
    assert {room_of(module) for module in MODULES} - {"", "testing"} == set(ROOMS)


def upward(module: Path) -> Iterator[str]:
    """What a module imports from a room above its own."""
    if module in (PACKAGE / "__init__.py", PACKAGE / "__main__.py"):
        return  # what a user wants, and the command: they import nothing until that is asked for
    room = room_of(module)
    below = ROOMS[ROOMS.index(room) :] if room in ROOMS else []
    for name in imported_by(module):
        parts = name.split(".")
        if parts[0] != "soar" or len(parts) < 2 or not (PACKAGE / parts[1]).is_dir():
            continue
        target = parts[1]
        if room == "testing":
            # Its contracts are those of the protocols, wherever those are.
            allowed = target == "testing" or parts[2:3] == ["base"] or name == f"soar.{target}"
        else:
            place = str(module.relative_to(PACKAGE))
            excused = (place, name) in UPWARD or (place, name.rpartition(".")[0]) in UPWARD
            offered = room == "cli" and target == "testing"  # a command may run what tests run
            allowed = target in below or excused or offered
        if not allowed:
            yield name


def found_by(look: Callable[[Path], Iterable[object]]) -> dict[str, list[object]]:
    """What one look finds in each module in which it finds something."""
    found = {str(module.relative_to(PACKAGE)): list(look(module)) for module in MODULES}
    return {module: wrong for module, wrong in found.items() if wrong}


def test_imports_point_down() -> None:
    assert found_by(upward) == {}


def test_every_exception_is_still_one() -> None:
    assert {(place, name) for place, name in UPWARD if name in set(imported_by(PACKAGE / place))} == UPWARD


def test_no_package_exports_the_name_of_one_of_its_modules() -> None:
    # Importing the module would then replace what was exported, in whatever order tests or commands happen to import.
    for package in (module.parent for module in MODULES if module.name == "__init__.py"):
        inside = {path.stem for path in package.iterdir() if path.suffix == ".py" or path.is_dir()}
        body = parsed(package / "__init__.py").body
        exported = {alias.asname or alias.name for node in body if isinstance(node, ast.ImportFrom) for alias in node.names}
        exported |= {node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        assert not inside & exported, package


def test_modules_hold_one_idea() -> None:
    lines = {str(module.relative_to(PACKAGE)): module.read_text(encoding="utf-8").count("\n") for module in MODULES}
    assert {module: count for module, count in lines.items() if count > LONGEST_MODULE} == {}


def pickling(module: Path) -> set[str]:
    """What a module calls or imports that pickles."""
    calls = {ast.unparse(node.func) for node in ast.walk(parsed(module)) if isinstance(node, ast.Call)}
    imported = {name.split(".")[0] for name in imported_by(module)}
    return (calls & {"torch.load", "torch.save", "np.load", "np.save"}) | (
        imported & {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
    )


def test_nothing_is_pickled() -> None:
    assert found_by(pickling) == {}


def text_without_encoding(module: Path) -> Iterator[str]:
    """Calls that open a text, or talk to a program in text, in whatever encoding the locale has."""
    for node in ast.walk(parsed(module)):
        if not isinstance(node, ast.Call):
            continue
        owner, _, name = ast.unparse(node.func).rpartition(".")
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        words = [value.value for value in [*node.args, *given.values()] if isinstance(value, ast.Constant)]
        binary = any(isinstance(word, str) and re.fullmatch("[rwax+]*b[rwax+]*", word) for word in words)
        # os.open gives a descriptor; a workcell that is opened is asked for the size of its pictures.
        others = owner in ("av", "os", "Pillow") or owner.endswith("codec_context")
        opens = name in ("open", "fdopen") and not binary and not others and "image_size" not in given
        whole = bool(owner) and name in ("read_text", "write_text", "TextIOWrapper")
        speaks = owner == "subprocess" and bool({"text", "universal_newlines"} & set(given))
        if (opens or whole or speaks) and "encoding" not in given:
            yield f"line {node.lineno}: {ast.unparse(node)[:80]}"


def test_texts_are_utf8_whatever_the_locale() -> None:
    assert found_by(text_without_encoding) == {}


def test_a_robots_computer_needs_the_core_alone() -> None:
    rooms = ("collect", "robots", "fleet", "remote", "episodes", "datasets", "formats", "tasks", "evaluation", "testing", "cli")
    # An environment of Gymnasium needs Gymnasium, a WidowX what its server speaks, a fleet's coordinator what servers need.
    apart = {"soar.robots.gymnasium", "soar.robots.gymnasium_maps", "soar.cli.__main__"}
    apart |= {"soar.robots.widowx.wire", "soar.robots.widowx.driver", "soar.testing.widowx_server"}
    # A server of openpi's protocol needs what speaks websockets.
    apart |= {"soar.testing.openpi_server"}
    # The kinematics of an arm of LeRobot need mink, and what steers it the kinematics.
    apart |= {f"soar.robots.lerobot.{name}" for name in ("kinematics", "steering", "reach", "robot", "driver")}
    apart |= {"soar.fleet.answering", "soar.fleet.coordinator", "soar.fleet.running"}
    named = [
        ".".join(("soar", *module.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
        for module in MODULES
        if room_of(module) in ("", *rooms)
    ]
    names = [*sorted(set(named) - apart), "soar.policies.onnx", "soar.policies.exploration", "soar.policies.remote"]
    names += ["soar.subgoals.remote", "soar.vlm.openai_client", "soar.serving.robots", "soar.serving.auth"]
    script = without(EXTRAS) + f"import importlib\nfor name in {names}: importlib.import_module(name)\n"
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert process.stderr.strip() == ""
    assert process.returncode == 0


def test_what_is_missing_is_blamed_on_the_extra_that_brings_it() -> None:
    for module, extra in EXTRAS.items():
        owners = {distribution(owner) for owner in provided().get(module, [module])}
        assert owners & {distribution(requirement) for requirement in PYPROJECT["optional-dependencies"][extra]}, module


def of_the_simulator(module: Path) -> list[str]:
    """What a module imports of the simulator without being made for it."""
    if room_of(module) in ("sim", "pretraining", "cli"):
        return []
    return [name for name in imported_by(module) if name.split(".")[:2] == ["soar", "sim"]]


def test_only_the_simulator_and_what_is_made_for_it_import_it() -> None:
    assert found_by(of_the_simulator) == {}


def imported_at_once(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports that run when a module is imported: not those inside of functions, nor those for types alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        yield from imported_at_once(node)


def test_modules_import_in_no_circle() -> None:
    names = {".".join(("soar", *m.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): m for m in MODULES}
    graph: dict[str, set[str]] = {}
    for name, module in names.items():
        graph[name] = set()
        for node in imported_at_once(parsed(module)):
            if isinstance(node, ast.Import):
                graph[name] |= {alias.name for alias in node.names} & names.keys()
                continue
            # `from a import b` is about the module a.b if there is one, and about a otherwise.
            found = {f"{node.module}.{alias.name}" for alias in node.names}
            graph[name] |= {full if full in names else full.rpartition(".")[0] for full in found} & names.keys()
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_every_import_is_of_a_declared_dependency() -> None:
    extras = [r for name, extra in PYPROJECT["optional-dependencies"].items() if name != "dev" for r in extra]
    declared = {distribution(requirement) for requirement in [*PYPROJECT["dependencies"], *extras]}
    for module in MODULES:
        for top in {name.split(".")[0] for name in imported_by(module)} - sys.stdlib_module_names - {"soar", "_typeshed"}:
            owners = {distribution(owner) for owner in provided().get(top, [top])}  # An extra may not be installed.
            assert owners & declared, f"{module.relative_to(ROOT)} imports {top}; declare it in pyproject.toml"


def test_every_declared_dependency_is_imported() -> None:
    parts = {part for module in MODULES for name in imported_by(module) for part in name.split(".")}
    used = {distribution(owner) for part in parts for owner in provided().get(part, [])}
    assert {distribution(requirement) for requirement in PYPROJECT["dependencies"]} <= used


def test_every_dependency_has_a_line_that_says_why() -> None:
    lines = set(
        re.findall(r"^\| `([\w.-]+)` \| \w", (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    declared = [*PYPROJECT["dependencies"], *(r for extra in PYPROJECT["optional-dependencies"].values() for r in extra)]
    assert {distribution(requirement) for requirement in declared} == {line.lower() for line in lines}


def test_every_dependency_is_pinned() -> None:
    pins = {distribution(line) for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if "==" in line}
    declared = [*PYPROJECT["dependencies"], *(r for extra in PYPROJECT["optional-dependencies"].values() for r in extra)]
    assert {distribution(requirement) for requirement in declared} <= pins


@pytest.mark.parametrize("document", DOCUMENTS, ids=[str(path.relative_to(ROOT)) for path in DOCUMENTS])
def test_links_in_documents_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), f"{document.name} links to {target}"
