"""Data sets by their published names, from a server on this machine."""

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from dtql_robot.cli import main
from dtql_robot.datasets import load, save_minari, save_robomimic
from dtql_robot.datasets.published import fetch as fetching
from dtql_robot.datasets.published import hub
from dtql_robot.datasets.published.fetch import address, fetch
from dtql_robot.datasets.published.names import listed
from dtql_robot.errors import InputError
from tests.datasets.test_published_cache import run
from tests.helpers.flat_files import write_npz
from tests.helpers.sample_demos import assert_same_episode, make_demos


def test_robomimic(server, tmp_path):
    made = save_robomimic(make_demos(3), tmp_path / "made.hdf5").read_bytes()
    server.put("/lift/mh/low_dim_v15.hdf5", made)
    demos = load("robomimic:lift/mh/low_dim")
    assert (demos.source, len(demos), demos.env_spec) == ("robomimic:lift/mh/low_dim", 3, "robosuite:Lift")
    assert load("robomimic:lift/mh/low_dim_v15").num_transitions == demos.num_transitions
    assert len(server.asked) == 1
    assert fetch("robomimic:lift/mh/low_dim") == tmp_path / "cache/robomimic/lift/mh/low_dim_v15.hdf5"


def test_ogbench(server, tmp_path):
    server.put("/cube-single-play-v0.npz", write_npz(tmp_path / "made.npz").read_bytes())
    demos = load("ogbench:cube-single-play-v0")
    assert demos.env_spec == "ogbench:cube-single-play-v0"
    assert fetch("ogbench:cube-single-play-singletask-task2-v0") == fetch("ogbench:cube-single-play-v0")
    assert [asked[0] for asked in server.asked] == ["/cube-single-play-v0.npz"]


def test_d4rl_names_the_environment_that_its_files_do_not(server, real_data, tmp_path):
    made = real_data / "d4rl_door_human_v0/door-v0_demos_clipped.hdf5"
    server.put("/hand_dapg/door-v0_demos_clipped.hdf5", made.read_bytes())
    demos = load("d4rl:door-human-v0")
    assert (len(demos), demos.env_spec) == (25, "AdroitHandDoor-v1")
    both = load(f"d4rl:door-human-v0,{made}")
    assert (len(both), both.env_spec) == (50, None)
    server.put("/hand_dapg/door-v0_demos_clipped.hdf5", made.read_bytes()[:-1])
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(InputError, match="has 3118317 bytes instead of 3118318: it has changed"):
        load("d4rl:door-human-v0")
    server.put("/hand_dapg/door-v0_demos_clipped.hdf5", made.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match="SHA-256 is not 9df6345e28fc"):
        load("d4rl:door-human-v0")


def serve_repository(server, name, folder, pages=1, commit="c0ffee"):
    """`folder` as the hub's data set `name`, its list of files on as many pages."""
    paths = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    entries = [{"type": "directory", "path": "data"}]
    for path in paths:
        content = (folder / path).read_bytes()
        server.put(f"/datasets/{name}/resolve/{commit}/{path}", content)
        entries.append(
            {"type": "file", "path": path, "size": len(content), "lfs": {"oid": hashlib.sha256(content).hexdigest()}}
        )
    server.put(f"/api/datasets/{name}/revision/main", json.dumps({"sha": commit}).encode())
    return entries


def list_files(server, about, entries, pages=1):
    """The hub's list, `pages` of it."""
    parts = [list(part) for part in np.array_split(np.array(entries, dtype=object), pages)]
    for i, part in enumerate(parts):
        link = {"Link": f'<{server.url}{about}?recursive=true&page={i + 1}>; rel="next"'} if i + 1 < pages else {}
        query = "?recursive=true" + (f"&page={i}" if i else "")
        server.put(f"{about}{query}", json.dumps(part).encode(), headers={"Content-Type": "application/json", **link})


def test_minari(server, tmp_path):
    save_minari(make_demos(3), tmp_path / "repository/door/made-v0")
    entries = serve_repository(server, "farama-minari/made", tmp_path / "repository")
    list_files(server, "/api/datasets/farama-minari/made/tree/c0ffee/door/made-v0", entries, pages=2)
    demos = load("minari:made/door/made-v0")
    assert (demos.source, len(demos)) == ("minari:made/door/made-v0", 3)
    asked = len(server.asked)
    assert len(load("minari:made/door/made-v0")) == 3
    assert len(server.asked) == asked
    assert fetch("minari:made/door/made-v0") == tmp_path / "minari/made/door/made-v0"
    import minari

    assert minari.load_dataset("made/door/made-v0").total_episodes == 3


@pytest.fixture
def folder(server, tmp_path):
    """A data set of the hub, of three files in two folders."""
    made = tmp_path / "repository"
    for name, content in {
        "meta/info.json": b"{}",
        "data/a b.parquet": b"a" * 70_000,
        ".gitattributes": b"",
        "videos/é.mp4": os.urandom(90_000),
    }.items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_bytes(content)
    quoted = serve_repository(server, "org/name", made)
    for entry in quoted:
        path = str(entry["path"])
        if path in ("data/a b.parquet", "videos/é.mp4"):
            other = {"data/a b.parquet": "data/a%20b.parquet", "videos/é.mp4": "videos/%C3%A9.mp4"}[path]
            content = server.files.pop(f"/datasets/org/name/resolve/c0ffee/{path}").content
            server.put(f"/datasets/org/name/resolve/c0ffee/{other}", content)
    list_files(server, "/api/datasets/org/name/tree/c0ffee", quoted)
    return made


def test_lerobot(server, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    found = fetch("lerobot:org/name")
    assert found == tmp_path / "cache/lerobot/org/name"
    assert sorted(p.relative_to(found).as_posix() for p in found.rglob("*") if p.is_file()) == [
        ".dtql-revision",
        "data/a b.parquet",
        "meta/info.json",
        "videos/é.mp4",
    ]
    assert (found / "videos/é.mp4").read_bytes() == (folder / "videos/é.mp4").read_bytes()
    assert {asked[3] for asked in server.asked} == {"Bearer hf_secret"}
    assert os.listdir(found.parent) == ["name"]


@pytest.mark.slow
def test_lerobot_from_the_name_to_a_trained_policy(server, tmp_path, capsys):
    """A folder that lerobot wrote: fetched through a cut connection, read with images, converted, trained on."""
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (pip install 'dtql-robot[lerobot]')")
    source = Path(__file__).parent / "lerobot" / "video_v30"
    entries = serve_repository(server, "org/cube", source)
    list_files(server, "/api/datasets/org/cube/tree/c0ffee", entries, pages=3)
    video = next(path for path, file in server.files.items() if path.endswith((".mp4", ".parquet")))
    server.files[video].faults = ["cut 500"]
    keys = ["observation", "front_image"]
    by_name, by_path = (load(data, obs_keys=keys) for data in ("lerobot:org/cube", source))
    assert by_name.source == "lerobot:org/cube"
    for a, b in zip(by_name.episodes, by_path.episodes, strict=True):
        assert_same_episode(a, b)
    asked = len(server.asked)
    assert main(["inspect", "lerobot:org/cube"]) == 0
    assert main(["convert", "lerobot:org/cube", str(tmp_path / "cube.hdf5")]) == 0
    small = ["--steps", "2", "--batch-size", "4", "--policy-hidden", "8", "--critic-hidden", "8", "--device", "cpu"]
    words = ["train", "--data", "lerobot:org/cube", "--out", str(tmp_path / "run"), "--denoiser-width", "8", *small]
    assert main(words) == 0
    assert (tmp_path / "run/checkpoint.pt").is_file()
    assert len(server.asked) == asked
    capsys.readouterr()
    assert main(["data", "path", "lerobot:org/cube"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "cache/lerobot/org/cube")


def test_a_folder_goes_on_where_it_stopped(server, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "fetch_folder", lambda *a, **k: hub.fetch_folder(*a, **k, pauses=(0.0,)))
    video = "/datasets/org/name/resolve/c0ffee/videos/%C3%A9.mp4"
    server.files[video].faults = ["cut 50000", "503", "503"]
    with pytest.raises(InputError, match="503"):
        fetch("lerobot:org/name")
    assert not (tmp_path / "cache/lerobot/org/name").exists()
    before = len(server.asked)
    assert fetch("lerobot:org/name").is_dir()
    again = [(path, part) for path, part, *_ in server.asked[before:] if "resolve" in path]
    assert again == [(video, "bytes=50000-")]


def test_another_revision_is_not_mixed_with_what_had_come(server, folder, tmp_path):
    server.files["/datasets/org/name/resolve/c0ffee/videos/%C3%A9.mp4"].faults = ["404"]
    with pytest.raises(InputError, match="no such file"):
        fetch("lerobot:org/name")
    (tmp_path / "new").mkdir()
    (tmp_path / "new/only.txt").write_text("new")
    list_files(
        server,
        "/api/datasets/org/name/tree/beef",
        serve_repository(server, "org/name", tmp_path / "new", commit="beef"),
    )
    found = fetch("lerobot:org/name")
    assert sorted(os.listdir(found)) == [".dtql-revision", "only.txt"]


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "a\\b", "a//b", "a\nb", ".dtql-revision"])
def test_files_outside_the_folder_are_refused(server, tmp_path, path):
    server.put("/api/datasets/org/name/revision/main", b'{"sha": "c0ffee"}')
    list_files(server, "/api/datasets/org/name/tree/c0ffee", [{"type": "file", "path": path, "size": 1}])
    with pytest.raises(InputError, match="which does not belong in a data set; it is not fetched"):
        fetch("lerobot:org/name")
    assert not (tmp_path / "cache").exists() or not list((tmp_path / "cache/lerobot/org").iterdir())


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"[]", "does not say which revision"),
        (b'{"sha": "../x"}', "does not say which revision"),
        (b"<x", "does not answer like Hugging Face's hub"),
        (b"[" * 99_999, "does not answer like Hugging Face's hub"),
    ],
)
def test_answers_that_are_not_the_hubs(server, answer, words):
    server.put("/api/datasets/org/name/revision/main", answer)
    with pytest.raises(InputError, match=words):
        fetch("lerobot:org/name")


def test_what_the_hub_refuses(server):
    server.put("/api/datasets/org/private/revision/main", b"", "401")
    with pytest.raises(InputError, match=r"401.* if the data set does not exist; for a private one, set HF_TOKEN"):
        fetch("lerobot:org/private")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("robomimic:lift/mh/low_dimm", r"Did you mean lift/mh/low_dim"),
        ("robomimic:", "data list robomimic"),
        ("robomimic:can/ph/image", "publishes no images of can/ph: they are drawn from its states"),
        ("robomimic:../../x", "has no data set"),
        ("d4rl:door-human", "Did you mean door-human-v"),
        ("ogbench:../x", "is not an OGBench data set"),
        ("lerobot:pusht", "expected lerobot:ORGANISATION/NAME"),
        ("lerobot:a/..", "expected lerobot:ORGANISATION/NAME"),
        ("lerobot:../b", "expected lerobot:ORGANISATION/NAME"),
        ("lerobot:a/b@../c", "expected lerobot:ORGANISATION/NAME"),
        ("minari:door", "not a valid Minari dataset ID"),
    ],
)
def test_names_that_mean_nothing(server, name, words):
    with pytest.raises(InputError, match=words):
        load(name)
    assert server.asked == []


def test_the_table_of_names(monkeypatch):
    for scheme in ("ROBOMIMIC", "D4RL", "OGBENCH", "MINARI", "LEROBOT"):
        monkeypatch.delenv(f"DTQL_{scheme}_URL", raising=False)
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    robomimic = "https://huggingface.co/datasets/robomimic/robomimic_datasets/resolve/main/v1.5"
    assert address("robomimic:can/mg/low_dim_sparse") == f"{robomimic}/can/mg/low_dim_sparse_v15.hdf5"
    assert address("robomimic:square/ph/raw") == f"{robomimic}/square/ph/demo_v15.hdf5"
    assert address("robomimic:lift/mh/low_dim_v141").endswith("/rt_benchmark/lift/mh/low_dim_v141.hdf5")
    berkeley = "https://rail.eecs.berkeley.edu/datasets/offline_rl"
    assert address("d4rl:pen-cloned-v1") == f"{berkeley}/hand_dapg_v1/pen-cloned-v1.hdf5"
    assert address("d4rl:walker2d-medium-replay-v2") == f"{berkeley}/gym_mujoco_v2/walker2d_medium_replay-v2.hdf5"
    assert address("ogbench:scene-play-v0") == "https://rail.eecs.berkeley.edu/datasets/ogbench/scene-play-v0.npz"
    assert address("lerobot:lerobot/pusht@v2.1") == "https://huggingface.co/datasets/lerobot/pusht/tree/v2.1"
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/")
    assert address("robomimic:can/ph/low_dim").startswith("https://mirror.example/datasets/robomimic/")
    for scheme in ("robomimic", "d4rl"):
        files = set(listed(scheme).values())
        assert len({f.kept for f in files}) == len({f.url for f in files}) == len(files) > 20
        assert all(re.fullmatch(r"https?://[\w./-]+\.hdf5", f.url) for f in files)


def test_robomimics_own_registry_has_the_same_addresses(monkeypatch):
    robomimic = pytest.importorskip("robomimic")
    monkeypatch.delenv("DTQL_ROBOMIMIC_URL")
    ours = {file.url for file in listed("robomimic").values()}
    theirs = {
        kind["url"]
        for task in robomimic.DATASET_REGISTRY.values()
        for source in task.values()
        for name, kind in source.items()
        if kind["url"] and "image" not in name
    }
    assert theirs <= ours
    assert ours - theirs == {url for url in ours if "/v1.5/" in url}


def test_list_shows_what_has_no_fixed_list(server, folder, tmp_path, capsys):
    fetch("lerobot:org/name")
    save_minari(make_demos(2), tmp_path / "minari/made/own-v0")
    out = run(capsys, "list")[1]
    for words in ("lerobot:org/name  0.2 MB here", "minari:made/own-v0", "ogbench:cube-single-play-v0\n", "d4rl:"):
        assert words in out
    assert run(capsys, "remove", "lerobot:org/name")[0] == 0
    assert not list((tmp_path / "cache/lerobot").rglob("*"))
    code, _, err = run(capsys, "remove", "minari:made/own-v0")
    assert code == 2
    assert "was not put there by this package" in err
