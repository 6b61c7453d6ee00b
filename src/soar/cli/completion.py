"""`soar completion`: what a shell offers when Tab is pressed."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro

_NAMES = {"--scene": "scenes", "--scenes": "scenes", "--preset": "presets"}
"""Flags whose values are names of configs, or paths of files."""
_BASH = """# Completion of soar for bash, and for zsh after `autoload -U bashcompinit && bashcompinit`.
_soar() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" place="${{COMP_WORDS[1]}}" offered
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "{commands}" -- "$word"))
        return
    fi
    local at=2
    while [ "$at" -lt "$COMP_CWORD" ]; do
        case "$place ${{COMP_WORDS[at]}}" in
        {deeper}) place="$place ${{COMP_WORDS[at]}}" ;;
        *) break ;;
        esac
        at=$((at + 1))
    done
    case "$place|$before" in
{values}
    esac
    case "$place" in
{flags}
    esac
    if [ "${{word#-}}" = "$word" ] && [ "${{offered#-}}" != "$offered" ]; then
        COMPREPLY=($(compgen -f -- "$word"))
    else
        COMPREPLY=($(compgen -W "$offered" -- "$word"))
    fi
}}
complete -o filenames -F _soar soar"""


@dataclass(frozen=True, kw_only=True)
class Completion:
    """Print what makes a shell complete commands, flags, names of scenes and presets, and files.

    Example: soar completion bash > ~/.local/share/bash-completion/completions/soar

    Example: soar completion zsh >> ~/.zshrc
    """

    shell: Annotated[Literal["bash", "zsh"], tyro.conf.Positional]
    """Which shell."""

    def run(self) -> None:
        """Run it."""
        from soar.cli.tables import say

        if self.shell == "zsh":
            say("autoload -U +X bashcompinit && bashcompinit")
        say(script())


def script() -> str:
    """Return the completion as a bash script."""
    from soar.cli.commands import COMMANDS
    from soar.configuration import names

    offered = {" ".join(words): flags for name, command in COMMANDS.items() for words, flags in places((name,), command.load())}
    values, flags = [], []
    for place, known in offered.items():
        flags.append(f'    "{place}") offered="{" ".join(known)}" ;;')
        for flag, choices in known.items():
            word = '-- "$word"'
            if kind := _NAMES.get(flag):
                reply = f'$(compgen -W "{" ".join(names(kind))}" {word}) $(compgen -f {word})'
            elif choices:
                reply = f'$(compgen -W "{" ".join(choices)}" {word})'
            elif choices is None:
                reply = f"$(compgen -f {word})"
            else:
                continue
            values.append(f'    "{place}|{flag}") COMPREPLY=({reply}); return ;;')
    deeper = "|".join(f'"{place}"' for place in offered if " " in place)
    return _BASH.format(commands=" ".join(COMMANDS), deeper=deeper, values="\n".join(values), flags="\n".join(flags))


def places(words: tuple[str, ...], kind: type[Any]) -> Iterator[tuple[tuple[str, ...], dict[str, tuple[str, ...] | None]]]:
    """Return a command, and its subcommands to any depth, with what is offered after each.

    Args:
        words: The command's, without `soar`.
        kind: Its class.

    Yields:
        Words; and flags with the values that they take: none for a switch, None for anything. Of a group its subcommands.
    """
    hints = typing.get_type_hints(kind, include_extras=True)
    if set(hints) == {"command"}:
        inner = {_subcommand(part): typing.get_args(part)[0] for part in typing.get_args(hints["command"])}
        yield words, dict.fromkeys(inner, ())
        for name, part in inner.items():
            yield from places((*words, name), part)
        return
    yield words, {"--help": ()} | dict(_flags(kind))


def _subcommand(part: Any) -> str:
    return next(str(mark.name) for mark in part.__metadata__ if hasattr(mark, "prefix_name"))


def _flags(kind: type[Any]) -> Iterator[tuple[str, tuple[str, ...] | None]]:
    hints = typing.get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        hint, marks = hints[field.name], getattr(hints[field.name], "__metadata__", ())
        plain = typing.get_args(hint)[0] if marks else hint
        if dataclasses.is_dataclass(plain):
            yield from _flags(typing.cast("type[Any]", plain))
            continue
        if tyro.conf.Positional in marks:
            continue
        name = next((mark.name for mark in marks if getattr(mark, "name", None)), field.name).replace("_", "-")
        if plain is bool:
            yield f"--{name}", ()
            yield f"--no-{name}", ()
        else:
            yield f"--{name}", _choices(plain)


def _choices(hint: Any) -> tuple[str, ...] | None:
    """Return the values that a flag takes; None: anything."""
    if typing.get_origin(hint) is Literal:
        return tuple(map(str, typing.get_args(hint)))
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return next((found for part in typing.get_args(hint) if (found := _choices(part))), None)
    return None
