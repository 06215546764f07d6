"""Device, threads, compiler and precision are what the settings ask for, and what cannot be is one sentence."""

import pytest
import torch

from dtql_robot.config import Config, OptimConfig
from dtql_robot.errors import InputError
from dtql_robot.training import hardware
from dtql_robot.training.prepare import resolve_graph

NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


def config(**optim) -> Config:
    return Config(device="cpu", optim=OptimConfig(**optim))


@pytest.mark.parametrize(("choice", "updates", "expected"), [("on", 1, True), ("off", 10**9, False)])
def test_compiling_as_asked(choice, updates, expected):
    assert hardware.should_compile(config(compile=choice), updates) is expected


@pytest.mark.parametrize(("activation", "first"), [("relu", 142_728), ("mish", 15_700)])
def test_compiling_by_itself_only_where_the_run_is_long(activation, first, monkeypatch):
    """What it saves of an update depends on the activation; the first run that saves what compiling takes."""
    monkeypatch.setattr(hardware, "has_compiler", lambda: True)
    assert not hardware.should_compile(config(activation=activation), first - 1)
    assert hardware.should_compile(config(activation=activation), first)
    monkeypatch.setattr(hardware, "has_compiler", lambda: False)
    assert not hardware.should_compile(config(activation=activation), first)


def test_older_configs_say_compile_as_a_truth_value():
    assert [OptimConfig(compile=value).compile for value in (True, False)] == ["on", "off"]


@pytest.mark.parametrize("setting", [{"cuda_graph": "on"}, {"precision": "tf32"}])
def test_what_needs_a_gpu_says_so(setting):
    with pytest.raises(InputError, match="needs an NVIDIA GPU, and this run is on the cpu"):
        hardware.check_hardware(config(**setting))


def test_compiling_without_a_compiler_says_so(monkeypatch):
    monkeypatch.setattr(hardware, "has_compiler", lambda: False)
    with pytest.raises(InputError, match=r"needs a C\+\+ compiler"):
        hardware.check_hardware(config(compile="on"))


def test_threads_are_set_for_the_run_only(monkeypatch):
    before = torch.get_num_threads()
    with hardware.hardware(Config(device="cpu", threads=3)):
        assert torch.get_num_threads() == 3
    assert torch.get_num_threads() == before
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    chosen = []
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    monkeypatch.setattr(hardware, "usable_cores", lambda: 4)
    with hardware.hardware(Config(device="cpu")):
        pass
    assert chosen == [4, 64]


def test_more_threads_than_cores_are_told(monkeypatch, capsys):
    monkeypatch.setattr(hardware, "usable_cores", lambda: 2)
    for threads in (2, 3):
        with hardware.hardware(Config(device="cpu", threads=threads)):
            assert torch.get_num_threads() == threads
        assert ("3 threads share 2 CPU cores" in capsys.readouterr().err) == (threads == 3)


def test_peak_memory_is_that_of_this_process():
    held = torch.ones(30_000_000)
    assert float(hardware.peak_memory().split()[0]) > held.nbytes / 2**20


def test_precision_is_set_for_the_run_only(monkeypatch):
    monkeypatch.setattr(hardware, "check_hardware", lambda cfg: None)
    before = torch.backends.cuda.matmul.allow_tf32
    with hardware.hardware(config(precision="tf32")):
        assert torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cuda.matmul.allow_tf32 == before


@pytest.mark.parametrize(
    ("choice", "device", "in_memory", "expected", "says"),
    [
        ("auto", "cuda", True, "on", "one CUDA graph"),
        ("auto", "cuda", False, "off", "one operation at a time"),
        ("auto", "cpu", True, "off", ""),
        ("on", "cuda", True, "on", ""),
        ("off", "cuda", True, "off", ""),
    ],
)
def test_a_cuda_graph_by_itself_wherever_it_can_be(choice, device, in_memory, expected, says):
    cfg, said = resolve_graph(config(cuda_graph=choice), torch.device(device), in_memory=in_memory, images=True)
    assert cfg.optim.cuda_graph == expected
    assert says in "".join(said)
    assert bool(said) == bool(says)


def test_settings_of_version_0_1_0_are_read_as_meant():
    assert config(cuda_graph=True).optim.cuda_graph == "on"
    assert config(cuda_graph=False).optim.cuda_graph == "off"
