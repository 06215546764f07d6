"""Raw recordings whose model lies beside them, or that name no environment."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from dtql_robot.datasets.formats.robosuite_recording import open_recording, read_raw, read_state_demo
from dtql_robot.errors import InputError


@pytest.mark.parametrize(("name", "steps"), [("lift", 412), ("wipe", 174)])
def test_the_model_is_read_from_the_folder_beside_the_file(
    real_file: Callable[[str], Path], name: str, steps: int
) -> None:
    path = real_file(f"robosuite_v101/{name}/demo.hdf5")
    demo = read_state_demo(path, "demo_1")
    assert demo.model == (path.parent / "models/model_1.xml").read_text()
    assert (len(demo.actions), len(demo.states)) == (steps, steps)


def test_models_that_lead_elsewhere_are_not_read(tmp_path: Path, real_file: Callable[[str], Path]) -> None:
    path = tmp_path / "demo.hdf5"
    shutil.copyfile(real_file("robosuite_v101/lift/demo.hdf5"), path)
    with pytest.raises(InputError, match=r"models/model_1\.xml is missing"):
        read_state_demo(path, "demo_1")
    (tmp_path / "secret.xml").write_text("<secret/>")
    (tmp_path / "models").mkdir()
    (tmp_path / "models/model_1.xml").symlink_to(tmp_path / "secret.xml")
    with pytest.raises(InputError, match=r"its model .* is missing"):
        read_state_demo(path, "demo_1")
    with h5py.File(path, "a") as file:
        file["data/demo_1"].attrs["model_file"] = "../secret.xml"
    assert read_state_demo(path, "demo_1").model == "../secret.xml"  # a text like any other, which no parser takes


def test_the_environment_is_the_users_where_none_is_named(tmp_path: Path, real_file: Callable[[str], Path]) -> None:
    folder = tmp_path / "lift"
    shutil.copytree(real_file("robosuite_v101/lift/demo.hdf5").parent, folder, copy_function=shutil.copyfile)
    with h5py.File(folder / "demo.hdf5", "a") as file:
        for key in list(file["data"].attrs):
            del file["data"].attrs[key]
    assert read_raw(folder / "demo.hdf5").env_spec is None
    recording = open_recording(folder / "demo.hdf5", "robosuite:Lift")
    assert (recording.robosuite_spec, recording.env_args["env_name"]) == ("robosuite:Lift", "Lift")
