"""The report in a browser, at the width of a telephone."""

import re
import shutil
import subprocess

import pytest

from dtql_robot.metrics import panels
from dtql_robot.reports.curves import plot_curves
from dtql_robot.reports.page import write_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MEASURE = """<body style="margin: 0"><iframe id="page" src="report.html" style="width: 390px; height: 900px"></iframe>
<script>addEventListener("load", () => {
  const root = page.contentDocument.documentElement;
  document.title = `wide ${root.scrollWidth} of ${root.clientWidth}, images ${page.contentDocument.images.length}`;
})</script>"""


@pytest.mark.slow
def test_nothing_leaves_a_page_of_390_pixels(tmp_path):
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    episodes = [{"seed": 10**9 + i, "success": i % 2 == 0, "return": -50.0, "length": 50, "time_to_success": None}
                for i in range(40)]  # fmt: skip
    results = {"env": "robosuite:Lift+state=robot0_eef_pos,robot0_eef_quat,object-state", "success_rate": 0.5,
               "ci95": [0.35, 0.65], "episodes": 40, "seed": 0, "mean_return": -50.0, "mean_length": 50.0,
               "policy_hz": 30_000.0, "env_steps_per_s": 400.0, "per_episode": episodes}  # fmt: skip
    rows = [{"step": i, "q_loss": 1 / (i + 1), "eval_success": 0.5, "eval_success_low": 0.2, "eval_success_high": 0.8}
            for i in range(5)]  # fmt: skip
    write_report(
        tmp_path / "report.html",
        title="a-run-with-a-very-long-name-without-any-blank-in-it: robosuite:Lift",
        results=results,
        config={"data": {"obs_keys": [f"robot0_observation_{i}" for i in range(12)]}},
        curves_png=plot_curves(rows, tmp_path / "curves.png"),
        panels=panels(list(rows[0]), {}),
        command=["dtql-robot train --data /a/very/long/path/without/blanks/" + "x" * 120],
    )
    (tmp_path / "measure.html").write_text(MEASURE)
    shown = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
         "--virtual-time-budget=3000", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom",
         (tmp_path / "measure.html").as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    ).stdout  # fmt: skip
    found = re.search(r"<title>wide (\d+) of (\d+), images (\d+)", shown)
    assert found, shown[:300]
    width, room, images = map(int, found.groups())
    assert width <= room <= 390
    assert images == 1
