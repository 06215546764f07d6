"""A sample of the reliability campaign (`make campaign`), part by part: no promise breaks."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

CAMPAIGN = Path(__file__).parents[1] / "benchmarks/campaign"
SAMPLE = """
import json, sys
from dataclasses import asdict
sys.path.insert(0, sys.argv[1])
import {module}
made = {module}.campaign({arguments})
print(json.dumps([asdict(t) for t in made]))
"""
"""In an interpreter of its own: it forks, which one with threads must not."""


def tried(module, arguments):
    ended = subprocess.run(
        [sys.executable, "-c", SAMPLE.format(module=module, arguments=arguments), str(CAMPAIGN)],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    tallies = json.loads(ended.stdout.splitlines()[-1])
    assert not [broken for tally in tallies for broken in tally["broken"]]
    return sum(tally["tried"] for tally in tallies)


@pytest.mark.slow
def test_damaged_files():
    assert tried("files", "40, 7") >= 80


@pytest.mark.slow
def test_kills():
    assert tried("kills", "8, 7, ['train']") == 5  # and two undisturbed runs are alike
    assert tried("kills", "20, 7, ['outputs']") == 6


@pytest.mark.slow
def test_numbers():
    assert tried("numbers_given", "40, 7") == 40


@pytest.mark.slow
def test_words():
    assert tried("words_given", "15, 7") == 15


def test_every_command_has_words_to_misuse(monkeypatch):
    """The options are those that the commands declare; were they read in another way, there might be none."""
    monkeypatch.syspath_prepend(str(CAMPAIGN))
    words = importlib.import_module("words_given")
    for command, option, kind in (("eval", "--env", "TEXT"), ("train", "--act", "CHOICE"), ("bench", "--out", "PATH")):
        assert (option, kind) in words.text_options(command)


@pytest.mark.slow
def test_strangers():
    assert tried("surroundings", "['strangers']") == 9


def test_a_broken_promise_counts(monkeypatch):
    monkeypatch.syspath_prepend(str(CAMPAIGN))
    trial = importlib.import_module("trial")
    ended = {
        "Traceback (most recent call last)": 1,
        "killed": -11,
        "": 2,
    }
    assert all(trial.promised(trial.Outcome(code, text, 1.0)) for text, code in ended.items())
    assert "hangs" in trial.promised(trial.Outcome(None, "", 30.0))
    assert trial.promised(trial.Outcome(2, "a sentence", 1.0)) is None
    with pytest.raises(RuntimeError):  # the campaign's own mistake
        trial.promised(trial.Outcome(2, "dtql-robot eval: there is no option --no-such. --help lists all.", 1.0))
