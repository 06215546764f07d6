"""Help, completion and the messages about options: what they show is what the parser accepts."""

import contextlib
import io
import re
import subprocess

import pytest
import tyro

from dtql_robot.cli import COMMANDS, main
from dtql_robot.cli.completion import completion
from dtql_robot.commands import train
from dtql_robot.commands.options import Option, option_groups


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    """Help fills the terminal, and libraries that other tests import (Ray) may say that it is narrow."""
    monkeypatch.setenv("COLUMNS", "100")


def options_of(command: str) -> list[Option]:
    module = __import__(f"dtql_robot.commands.{command}", fromlist=["Options"])
    return [option for group in option_groups(module.Options) for option in group.options]


def shown(capsys, *words: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main(list(words))
    assert stop.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_the_options_that_the_parser_has(command, capsys):
    module = __import__(f"dtql_robot.commands.{command}", fromlist=["Options"])
    theirs = io.StringIO()
    with contextlib.redirect_stdout(theirs), pytest.raises(SystemExit):
        tyro.cli(module.Options, args=["--help"], config=(tyro.conf.OmitArgPrefixes,))
    ours = shown(capsys, command, "--help-all")
    found = options_of(command)
    assert len(found) == len({option.name for option in found})
    for option in found:
        assert f"\n  {option.flag}" in ours
        assert option.text, f"{option.flag} has no help"
        if not option.positional:
            assert re.search(
                rf"^\W --(.* )?{option.flag[2:]}[ ,\n]|^\W --.* {option.flag}[ ,\n]", theirs.getvalue(), re.MULTILINE
            )
    declared = set(re.findall(r"^\W (--[a-z][a-z0-9-]+)", theirs.getvalue(), re.MULTILINE))
    assert declared - {"--help"} <= {flag for option in found for flag in option.flags}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_no_words_of_the_parser(command, capsys):
    text = shown(capsys, command, "--help-all")
    assert "{None}" not in text
    assert "STR" not in text
    assert max(map(len, text.splitlines())) <= 110


def test_train_help_is_short_and_help_all_has_everything(capsys):
    short, everything = shown(capsys, "train", "--help"), shown(capsys, "train", "--help-all")
    assert len(short.splitlines()) < 100
    assert "--sigma-loc" not in short
    assert "--sigma-loc" in everything
    assert set(train.BASIC) <= {option.name for option in options_of("train")}


def test_help_shows_the_presets_defaults(capsys):
    text = shown(capsys, "train", "--preset", "iql", "--out", "x", "--help-all")
    line = next(i for i, line in enumerate(text.splitlines()) if "--awr-temperature" in line)
    assert "[3]" in " ".join(text.splitlines()[line : line + 6])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["trian"], "unknown command 'trian'. Did you mean train?"),
        (["train", "--out", "x", "--stesp", "3"], "there is no option --stesp. Did you mean --steps?"),
        (["eval"], "RUN is missing"),
        (["train"], "--out is missing"),
        (["eval", "runs", "--episodes"], "--episodes needs a value: Number of episodes."),
        (["eval", "runs", "--episodes", "2.5"], "--episodes is 2.5; expected a whole number."),
        (["eval", "runs", "--episodes="], "--episodes is ''; expected a whole number."),
        (["eval", "runs", "--episodes", "3\n4"], "--episodes is '3\\n4'; expected a whole number."),
        (["eval", "a", "b"], "there is no place for b; it takes RUN and options."),
        (["eval", "a", "--video-grid", "b"], "there is no place for b after --video-grid; it takes RUN and options."),
        (["data", "frob"], "ACTION is frob; expected list, fetch, path or remove."),
        (["split", "a.hdf5", "--train", "half"], "--train is half; expected a number."),
        (
            ["train", "--out", "x", "--data", "y", "z"],
            "there is no place for z after --data; it takes options only. "
            "Several values of --data are joined by commas: A,B.",
        ),
        (["inspect", "a", "b"], "it takes DATA and options. Several values of DATA are joined by commas: A,B."),
        (["train", "--out", "x", "--keep", "last", "best"], "Several values of --keep are joined by commas: A,B."),
        (["train", "--out", "x", "--data", "y", "-o", "z"], "there is no option -o;"),
        (["train", "--out", "x", "--data", "y", "--act", "meen"], "or diffusion-best. Did you mean mean?"),
        (["train", "--out", "x", "--data", "y", "--lr-decay=yes"], "it is --lr-decay or --no-lr-decay."),
        (["train", "--out", "x", "--data", "y", "--critic-hidden", "9", "x"], "--critic-hidden is x; expected a whole"),
        (["train", "--out", "x", "--data", "y", "--encoder", "own", "--lr", "x"], "--lr is x; expected a number."),
        (["train", "--out", "x", "--data", "y", "--temporal-ensemble-coeff", "x"], "expected a number or fit."),
        (["train", "--out", "x", "--data", "y", "--steps", "None"], "--steps is None; expected a whole number."),
        (["bench", "smoke", "--train-args=--stpes=3"], "there is no option --stpes. Did you mean --steps?"),
        (["bench", "smoke", "--train-args=--steps=x"], "--steps is x; expected a whole number."),
        (["--completion", "tcsh"], "--completion needs one of bash, zsh, fish"),
        (["--completion"], "--completion needs one of bash, zsh, fish"),
    ],
)
def test_a_slip_is_one_line_with_a_hint(words, sentence, capsys):
    assert main(words) == 2
    message = capsys.readouterr().err
    assert sentence in message
    assert len(message.splitlines()) == 1


def test_help_of_a_command_by_either_order(capsys):
    assert shown(capsys, "help", "eval") == shown(capsys, "eval", "-h")


def test_verbose_shows_where_an_error_comes_from(tmp_path, capsys):
    missing = str(tmp_path / "no.hdf5")
    assert main(["inspect", missing]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert main(["inspect", missing, "--verbose"]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["tra"], {"train"}),
        (["eval", "runs", "--video-f"], {"--video-filter"}),
        (["eval", "runs", "--video-filter", "s"], {"successes"}),
        (["train", "--no-lr"], {"--no-lr-decay"}),
    ],
)
def test_bash_completes(typed, offered, tmp_path):
    script = tmp_path / "completion.bash"
    script.write_text(completion("bash", COMMANDS))
    words = " ".join(f"'{word}'" for word in ["dtql-robot", *typed])
    code = f'source {script}; COMP_WORDS=({words}); COMP_CWORD={len(typed)}; _dtql_robot; echo "${{COMPREPLY[@]}}"'
    found = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True).stdout
    assert set(found.split()) == offered


def test_completion_scripts_name_every_option(capsys):
    for shell in ("zsh", "fish"):
        assert main(["--completion", shell]) == 0
        text = capsys.readouterr().out
        assert all(command in text for command in COMMANDS)
    assert "-l video-filter -xa 'all failures successes'" in text
