"""The robot's side is a package of its own that installs and works without torch."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("websockets", reason='needs pip install "dtql-robot[serve]" (websockets, msgpack)')


import dtql_robot.client
from dtql_robot import __version__
from dtql_robot.policy_folder.save import save_policy_folder
from dtql_robot.serving.served import Served
from tests.helpers.policy_server import serving
from tests.helpers.saved_policy import observation, small_policy

SOURCE = Path(dtql_robot.client.__file__).parent
BLOCKED = ("torch", "mujoco", "gymnasium", "h5py", "dtql_robot")

ROBOT = f"""
import sys
for name in {BLOCKED!r}:
    sys.modules[name] = None  # importing it fails
import numpy as np
from dtql_robot_client import ActionPlan, Client, RealTimeLoop
with Client(port=int(sys.argv[1])) as client:
    actions = [client.act({{"pose": np.full((2, 2), 0.1 * i), "goal": np.arange(3.0) + i}}) for i in range(5)]
    loop = RealTimeLoop(client.chunk, lambda: {{"pose": np.zeros((2, 2)), "goal": np.zeros(3)}}, lambda action: None,
                        hz=100, n_action_steps=2, delay=0)
    assert len(loop.run(4).late_starts) == 4
np.save(sys.argv[2], actions)
assert not [name for name in sys.modules if name.startswith(("torch.", "dtql_robot."))]
"""


def test_the_client_is_short_and_knows_nothing_of_the_rest():
    assert len((SOURCE / "client.py").read_text().splitlines()) < 150
    for file in SOURCE.glob("*.py"):
        imports = [line for line in file.open() if line.lstrip().startswith(("import ", "from "))]
        assert "dtql_robot" not in "".join(imports)


def test_both_packages_have_one_version():
    assert dtql_robot.client.__version__ == __version__


@pytest.mark.slow
def test_it_installs_alone_and_acts_without_torch(tmp_path):
    shutil.copytree(SOURCE, tmp_path / "source", ignore=shutil.ignore_patterns("__pycache__"))
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index",
               "--target", str(tmp_path / "site"), str(tmp_path / "source")]  # fmt: skip
    subprocess.run(install, check=True, capture_output=True)
    assert (tmp_path / "site/dtql_robot_client/client.py").is_file()
    policy = small_policy()
    env = {"PYTHONPATH": str(tmp_path / "site"), "PATH": ""}
    with serving(Served(policy.portable(), policy.interface)) as (_, port):
        robot = [sys.executable, "-c", ROBOT, str(port), str(tmp_path / "actions.npy")]
        subprocess.run(robot, check=True, env=env, cwd=tmp_path)
    expected = [policy.act({"pose": np.full((2, 2), 0.1 * i), "goal": np.arange(3.0) + i}) for i in range(5)]
    np.testing.assert_array_equal(np.load(tmp_path / "actions.npy"), expected)


@pytest.mark.slow
def test_a_policy_of_safetensors_acts_without_torch(tmp_path):
    policy = small_policy()
    folder = save_policy_folder(policy, tmp_path / "policy")
    code = f"""
import sys
sys.modules["torch"] = None
import numpy as np
from dtql_robot.policy_folder.files import load_numpy_policy
obs = dict(np.load({str(tmp_path / "obs.npz")!r}))
np.save({str(tmp_path / "chunks.npy")!r}, load_numpy_policy({str(folder)!r}).predict(obs, []))
"""
    obs = {k: np.stack([observation(seed)[k] for seed in range(3)]) for k in ("pose", "goal")}
    np.savez(tmp_path / "obs.npz", **obs)
    subprocess.run([sys.executable, "-c", code], check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "chunks.npy"), policy.predict(obs, [None] * 3))
