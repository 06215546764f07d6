"""Completion of commands, options and their values with the Tab key, for bash, zsh and fish."""

from __future__ import annotations

import importlib
import shlex
from collections.abc import Mapping

from dtql_robot.commands.options import Option, option_groups

SHELLS = ("bash", "zsh", "fish")
COMMON = ("--help", "--quiet", "--verbose")

BASH = """\
# Completion of dtql-robot (`dtql-robot --completion bash` wrote this).
_dtql_robot() {{
    local command="${{COMP_WORDS[1]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" now="${{COMP_WORDS[COMP_CWORD]}}" words=""
    if (( COMP_CWORD == 1 )); then
        words="{commands} --help --version --completion"
    else
        case "$command $before" in
{values}
        esac
        if [[ -z "$words" && "$now" == -* ]]; then
            case "$command" in
{options}
            esac
        fi
    fi
    COMPREPLY=($(compgen -W "$words" -- "$now"))
}}
complete -o default -F _dtql_robot dtql-robot
"""

ZSH = "autoload -U +X bashcompinit && bashcompinit\n"


def completion(shell: str, commands: Mapping[str, str]) -> str:
    """A script that teaches the shell, one of SHELLS, the commands (name -> summary) with their options.

    Where nothing is known about a value, the shell completes file names.
    """
    options = {name: _options(name) for name in commands}
    if shell == "fish":
        return _fish(commands, options)
    values = "\n".join(
        f'            "{name} {flag}") words="{" ".join(option.choices)}";;'
        for name, found in options.items()
        for option in found
        if option.choices
        for flag in option.flags
    )
    lines = "\n".join(
        f'                {name}) words="{" ".join([*(flag for option in found for flag in option.flags), *COMMON])}";;'
        for name, found in options.items()
    )
    script = BASH.format(commands=" ".join(commands), values=values, options=lines)
    return (ZSH if shell == "zsh" else "") + script


def _options(command: str) -> list[Option]:
    groups = option_groups(importlib.import_module(f"dtql_robot.commands.{command}").Options)
    return [option for group in groups for option in group.options if not option.positional]


def _fish(commands: Mapping[str, str], options: Mapping[str, list[Option]]) -> str:
    lines = ["# Completion of dtql-robot (`dtql-robot --completion fish` wrote this)."]
    for name, summary in commands.items():
        lines.append(f"complete -c dtql-robot -n __fish_use_subcommand -fa {name} -d {shlex.quote(summary)}")
        for option in options[name]:
            words = f"complete -c dtql-robot -n '__fish_seen_subcommand_from {name}' -l {option.flag[2:]}"
            if option.choices:
                words += f" -xa {shlex.quote(' '.join(option.choices))}"
            elif not option.switch:
                words += " -r"
            lines.append(f"{words} -d {shlex.quote(option.text.split('. ')[0])}")
    return "\n".join(lines) + "\n"
