"""Every message of an error on purpose that is in the code, by kind: for the reference, and to be read before a release.

    python scripts/error_messages.py

What stands in braces is filled in when the error is raised; <a|b> is either.
"""

from __future__ import annotations

import ast
import inspect
import sys
from pathlib import Path

from soar import errors
from soar.errors import SoarError

PACKAGE = Path(errors.__file__).parent


def kinds() -> dict[str, type[SoarError]]:
    """Return the kinds of errors by name, `SoarError` last."""
    found = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, SoarError)}
    return dict(sorted(found.items(), key=lambda item: item[1] is SoarError))


def words(node: ast.expr) -> str:
    """Return a message as its expression in the code says it."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(words(part) for part in node.values)
    if isinstance(node, ast.BinOp):
        return words(node.left) + words(node.right)
    if isinstance(node, ast.IfExp):
        return f"<{words(node.body)}|{words(node.orelse)}>"
    return f"{{{ast.unparse(node.value if isinstance(node, ast.FormattedValue) else node)}}}"


def messages() -> list[tuple[str, str, str]]:
    """Return kind, module and message of each error that is made anywhere, in the order of the modules."""
    found, names = [], kinds()
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = ast.unparse(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""
            if name in names and isinstance(node, ast.Call) and node.args:
                module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
                found.append((name, module, ", ".join(map(words, node.args))))
    return found


def page() -> str:
    """Return them as Markdown."""
    parts = [
        "# Errors",
        "",
        "What can be wrong, in the words in which it is said. A command prints one of these without a traceback",
    ]
    parts += [
        "and ends with status 2; in a program, each is an exception of `soar.errors`. What stands in braces is filled in."
    ]
    made = messages()
    for name, kind in kinds().items():
        parts += ["", f"## {name}", "", (inspect.getdoc(kind) or "").partition("\n")[0], ""]
        modules = sorted({module for other, module, _ in made if other == name})
        for module in modules:
            texts = dict.fromkeys(text for other, where, text in made if (other, where) == (name, module))
            parts += [f"`{module}`", "", "```text", *texts, "```", ""]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
