"""Progress in a log: whole lines without carriage returns; none with --quiet."""

import io
import sys

from dtql_robot.system import progress
from dtql_robot.system.progress import progress_bar, progress_shown


def logged(monkeypatch, *, shown: bool = True) -> str:
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    monkeypatch.setattr(progress, "EVERY", 0.0)
    with progress_shown(shown), progress_bar("train", total=3, unit="step") as bar:
        for loss in (0.5, 0.25, 0.125):
            bar.set_postfix(loss=loss, refresh=False)
            bar.update()
    return log.getvalue()


def test_a_log_gets_plain_lines(monkeypatch):
    text = logged(monkeypatch)
    assert "\r" not in text
    assert text.endswith("\n")
    lines = text.splitlines()
    assert lines[0].startswith("train: 0/3 step, 00:00 elapsed")
    assert lines[-1].startswith("train: 3/3 step")
    assert "loss=0.125" in lines[-1]
    assert len(set(lines)) == len(lines)


def test_quiet_shows_no_progress(monkeypatch):
    assert logged(monkeypatch, shown=False) == ""


def test_a_terminal_gets_a_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    assert list(progress_bar("film", over=[1, 2], total=2, unit="ep")) == [1, 2]
    assert "\rfilm: 100%" in screen.getvalue()
