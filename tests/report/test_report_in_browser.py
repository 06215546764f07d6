"""The report in a browser: on a telephone and a desk, by day and by night; clips play where they are clicked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dtql_robot.eval.video.clips import mp4_writer
from dtql_robot.metrics import panels
from dtql_robot.reports.curves import plot_curves
from dtql_robot.reports.page import write_report
from tests.helpers.browser import CHROMIUM, Page, browser

pytest.importorskip("websockets", reason="websockets is not installed (pip install 'dtql-robot[client]')")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")]

FIRST = 10**9


def episode(i: int) -> dict[str, Any]:
    """Every second one succeeds; the object starts further to the right each time."""
    return {
        "seed": FIRST + i,
        "success": i % 2 == 0,
        "return": -50.0,
        "length": 50,
        "time_to_success": 20 if i % 2 == 0 else None,
        "starts": {"object": [1.3 + 0.01 * i, 0.7 + 0.02 * (i % 7), 0.4], "goal": [1.2 + 0.01 * (i % 9), 0.6, 0.5]},
        "measure": 0.01 + 0.03 * (i % 2) * i,
        "subtasks": {"microwave": i % 3 == 0, "kettle": i % 2 == 0},
        "stages": {"near the object": 10, "object grasped": 20 if i % 4 else None},
    }


RESULTS = {
    "env": "robosuite:Lift+state=robot0_eef_pos,robot0_eef_quat,object-state",
    "success_rate": 0.5,
    "ci95": [0.35, 0.65],
    "episodes": 40,
    "seed": 0,
    "mean_return": -50.0,
    "mean_length": 50.0,
    "policy_hz": 30_000.0,
    "env_steps_per_s": 400.0,
    "per_episode": [episode(i) for i in range(40)],
    "measure": {"name": "distance to goal", "threshold": 0.05, "below": True, "unit": "m"},
}
OVERFLOW = """[document.documentElement.scrollWidth, document.documentElement.clientWidth]"""
PLAYED = """(async (video) => {
  video.muted = true;
  video.play().catch(() => {});
  for (let i = 0; i < 600 && !(video.currentTime > 0.05); i++) await new Promise((done) => setTimeout(done, 50));
  return [video.currentTime > 0.05, video.videoWidth, video.videoHeight];
})"""
CONTRAST = """(() => {
  const channel = (c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = (text) => { const [r, g, b] = text.match(/[0-9.]+/g).map(Number);
    return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b); };
  const ground = (e) => { for (; e; e = e.parentElement) {
    const colour = getComputedStyle(e).backgroundColor; if (!/, 0\\)/.test(colour)) return light(colour); } return 1; };
  const found = [];
  for (const e of document.querySelectorAll("h1, h2, h3, p, td, th, dt, dd, code, summary, figcaption, button, a")) {
    if (!e.checkVisibility() || !e.textContent.trim()) continue;
    const [a, b] = [light(getComputedStyle(e).color), ground(e)].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), e.tagName + " " + e.textContent.trim().slice(0, 30)]);
  }
  return found.sort((x, y) => x[0] - y[0])[0];
})()"""


def film(path: Path, seconds: float = 1.0) -> Path:
    path.parent.mkdir(exist_ok=True)
    with mp4_writer(path, 10) as writer:
        for i in range(round(10 * seconds)):
            writer.append_data(np.full((96, 128, 3), 20 * i, np.uint8))
    return path


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with everything that a page may have."""
    folder = tmp_path_factory.mktemp("report")
    rows = [
        {"step": i, "q_loss": 1 / (i + 1), "eval_success": 0.5, "eval_success_low": 0.2, "eval_success_high": 0.8}
        for i in range(5)
    ]
    return write_report(
        folder / "report.html",
        title="a-run-with-a-very-long-name-without-any-blank-in-it: robosuite:Lift",
        results=RESULTS,
        config={"data": {"obs_keys": [f"robot0_observation_{i}" for i in range(12)]}},
        curves_png=plot_curves(rows, folder / "curves.png"),
        panels=panels(list(rows[0]), {}),
        videos=[film(folder / "video.mp4")],
        command=["dtql-robot train --data /a/very/long/path/without/blanks/" + "x" * 120],
        clips={FIRST + i: film(folder / "clips" / f"{i}.mp4") for i in (0, 3)},
        film_command="dtql-robot eval runs/lift --video runs/lift/episode-@EPISODE@.mp4 --video-pick @INDEX@",
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory):
    with browser(tmp_path_factory.mktemp("browser") / "profile") as tab:
        yield tab


@pytest.mark.parametrize(("width", "dark"), [(390, False), (390, True), (1100, False), (1100, True)])
def test_nothing_leaves_the_page_and_everything_can_be_read(page: Page, report: Path, width: int, dark: bool) -> None:
    page.open(report, width, dark=dark)
    needed, room = page.js(OVERFLOW)
    assert needed <= room <= width
    assert page.js("document.images.length") == 1
    ground = page.js("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(18, 22, 31)" if dark else "rgb(246, 247, 249)")
    ratio, where = page.js(CONTRAST)
    assert ratio >= 4.5, where  # WCAG AA
    assert page.errors == []


def test_videos_play(page: Page, report: Path) -> None:
    page.open(report, 1100)
    assert page.js(f'{PLAYED}(document.querySelector("section video"))') == [True, 128, 96]


def test_an_episode_that_is_clicked_plays_its_clip_or_says_how_to_make_one(page: Page, report: Path) -> None:
    page.open(report, 390)
    dialog = 'document.getElementById("clip")'
    for mark in ("button.play", "svg.plot g", ".strip span"):
        page.js(f"""document.querySelector('{mark}[data-seed="{FIRST + 3}"]').dispatchEvent(
            new MouseEvent("click", {{bubbles: true}}))""")
        assert page.js(f"{dialog}.open")
        assert page.js(f"{dialog}.querySelector('h2').textContent") == f"Episode 4, seed {FIRST + 3}: failure"
        assert page.js(f"{PLAYED}({dialog}.querySelector('video'))") == [True, 128, 96]
        assert not page.js(f"{dialog}.querySelector('.no-clip').checkVisibility()")
        page.js(f"{dialog}.querySelector('button.close').click()")
        assert not page.js(f"{dialog}.open")
    page.js(f"""document.querySelector('button.play[data-seed="{FIRST + 7}"]').click()""")
    assert not page.js(f"{dialog}.querySelector('video').checkVisibility()")
    line = page.js(f"{dialog}.querySelector('code').innerText")
    assert line == "dtql-robot eval runs/lift --video runs/lift/episode-8.mp4 --video-pick 7"
    needed, room = page.js(OVERFLOW)
    assert needed <= room
    assert page.js(f"{dialog}.getBoundingClientRect().right") <= 390
    assert page.errors == []


def test_marks_stand_where_episodes_begin(page: Page, report: Path) -> None:
    page.open(report, 1100)
    spots = page.js("""[...document.querySelectorAll("svg.plot")].map((plot) =>
        plot.querySelectorAll(".won, .lost").length)""")
    assert spots == [40, 40, 40]  # object, goal, and how far episodes came
    left, right = page.js(f"""[{FIRST}, {FIRST + 38}].map((seed) =>
        document.querySelector(`svg.plot g[data-seed="${{seed}}"] .won`).getBoundingClientRect().x)""")
    assert left < right  # the object's x grows with the episode
