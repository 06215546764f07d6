"""An agent and its interface in a run folder's checkpoint.pt, and back: to train on, or to act."""

from __future__ import annotations

import io
import json
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dtql_robot.algorithm.agent import DTQL
from dtql_robot.algorithm.model import Model, make_networks
from dtql_robot.config import Config
from dtql_robot.env_record import EnvChoice
from dtql_robot.errors import InputError, require_path
from dtql_robot.policy.interface import Interface
from dtql_robot.policy.one_step import OneStepPolicy
from dtql_robot.policy_folder.files import is_policy_folder
from dtql_robot.policy_folder.load import load as load_policy_folder
from dtql_robot.run_folder import CONFIG, as_trained, read_config, refuse_several
from dtql_robot.run_name import CHECKPOINT, LAST, checkpoint_file, split_checkpoint
from dtql_robot.system.files import new_file
from dtql_robot.system.json_text import parse_json
from dtql_robot.system.plugins import require_consent

FORMAT = 1
"""Version of the checkpoint's layout."""

UNREADABLE = (
    *(RuntimeError, EOFError, OSError, pickle.UnpicklingError, zipfile.BadZipFile),
    *(KeyError, ValueError, TypeError, AttributeError, IndexError),
)
"""What torch, and what reads its contents, raises for files that are damaged or of something else."""


def make_agent(cfg: Config, face: Interface, device: torch.device) -> DTQL:
    """An agent with the networks that read and write what the interface says, its weights drawn from the seed."""
    return DTQL(cfg, face.obs_dim, face.action_dim, face.sigma_data, device, face.image_shapes)


def load_policy(run: str | Path, device: str = "cpu") -> OneStepPolicy:
    """Load the policy of a run folder ("runs/pick@best": a checkpoint other than the last), or of a folder that
    `export --format safetensors` wrote, ready to act.

    Example: `policy = load_policy("runs/demo"); policy.reset(seed=0); action = policy.act(obs)`.
    """
    require_path("run", run)
    target = torch.device(device)
    if is_policy_folder(Path(run)):
        return load_policy_folder(Path(run), target)
    cfg, face, state = read(Path(run), target)
    folder, name = split_checkpoint(Path(run))
    try:
        networks = make_networks(cfg, face.obs_dim, face.action_dim, face.sigma_data, target, face.image_shapes)
        model = Model(cfg, networks, target)
        model.load_networks(state["networks"])
    except UNREADABLE as error:
        raise _damaged(checkpoint_file(folder, name), error) from error
    policy = OneStepPolicy(model, face)
    if (folder / CONFIG).exists():
        settings = read_config(folder)
        policy.recorded_env = EnvChoice(settings["env"], settings["env_args"], source=str(folder))
        low_high = settings["reference_scores"]
        policy.reference_scores = None if low_high is None else (low_high[0], low_high[1])
    return policy


def save(run: Path, agent: DTQL, interface: Interface, path: Path | None = None) -> None:
    """Write the run's checkpoint: weights, optimizers, random state, step, config and interface.

    path: None for that of the last update.
    FloatingPointError where a weight is NaN or infinite; the checkpoint that was there stays.
    """
    path = path or run / CHECKPOINT
    require_finite(agent, f"{path} keeps the last good ones" if path.exists() else "nothing was saved")
    content = to_bytes(agent, interface)
    with new_file(path, overwrite=True) as temporary:
        temporary.write_bytes(content)


def require_finite(agent: DTQL, kept: str) -> None:
    """FloatingPointError where a weight is NaN or infinite, with the words `kept` on what is left."""
    if bad := not_finite({name: network.state_dict() for name, network in agent.networks.items()}):
        raise FloatingPointError(
            f"weights became NaN or infinite by step {agent.step} (in {', '.join(bad)}): {kept}; lower --lr or check "
            f"the data."
        )


def to_bytes(agent: DTQL, interface: Interface) -> memoryview:
    """What `save` writes.  In memory first: torch's own writer may end the process where the disk is full."""
    state = {
        "format": FORMAT,
        "config": json.dumps(agent.cfg.to_dict()),
        "interface": interface.to_dict(),
        "agent": agent.state_dict(),
    }
    content = io.BytesIO()
    torch.save(state, content)
    return content.getbuffer()


def estimated_size(agent: DTQL) -> int:
    """Bytes of the agent's checkpoint, somewhat more rather than less."""
    networks = [t for network in agent.networks.values() for t in network.state_dict().values()]
    trained = [p for o in agent.optimizers.values() for group in o.param_groups for p in group["params"]]
    size = sum(t.numel() * t.element_size() for t in (*networks, *trained, *trained))
    return size + 1024 * (len(networks) + 3 * len(trained)) + 100_000


def read(run: Path, device: torch.device) -> tuple[Config, Interface, dict[str, Any]]:
    """The checkpoint of a run folder: its config, its interface, and the agent's state.

    InputError where there is none, where it is damaged, where its weights are not finite, and where config.json is of
    another run.
    """
    run, name = split_checkpoint(run)
    path = checkpoint_file(run, name)
    if not path.is_file():
        refuse_several(run)
        kept = "expected the folder that `dtql-robot train --out` wrote" if name == LAST else _kept(run)
        raise InputError(f"{run} contains no {path.name}; {kept}.")
    state = _load(path, device)
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise InputError(f"{path} is not a checkpoint of this version (expected format {FORMAT}); train again.")
    try:
        values, note = as_trained(parse_json(state["config"]))
        config = Config.from_dict(values)
        require_consent(config.plugins, run)
        interface = Interface.from_dict(state["interface"])
        agent = {key: state["agent"][key] for key in ("networks", "optimizers", "generator", "step")}
        if [type(agent[key]) for key in ("networks", "optimizers", "step")] != [dict, dict, int]:
            raise TypeError("the agent's state is of another form")
        bad = not_finite(agent["networks"])
    except InputError:
        raise
    except UNREADABLE as error:
        raise _damaged(path, error) from error
    if note:
        warnings.warn(f"{path} {note}", stacklevel=3)
    if bad:
        raise InputError(
            f"{path} has NaN or infinite weights (in {', '.join(bad)}): the training diverged. Train again "
            f"with a lower --lr, and check the data with `dtql-robot validate`."
        )
    if (run / CONFIG).exists():
        _check_is_of(run, config)
    return config, interface, agent


def _kept(run: Path) -> str:
    """The checkpoints that a folder has, for the user who asked for another one."""
    names = [p.stem.partition("-")[2] or LAST for p in sorted(run.glob(f"{Path(CHECKPOINT).stem}*.pt"))]
    return f"it has {', '.join(names) or 'none'} (`train --keep` says which are kept)"


def step_of(path: Path) -> int | None:
    """The update that a checkpoint was written after; None where it is missing or damaged."""
    try:
        return int(_load(path, torch.device("cpu"))["agent"]["step"])
    except UNREADABLE:
        return None


def load_into(agent: DTQL, state: dict[str, Any], run: Path) -> None:
    """Give the agent the state that was read from `run`.  InputError where it does not fit the agent's networks."""
    try:
        agent.load_state_dict(state)
    except UNREADABLE as error:
        raise _damaged(run / CHECKPOINT, error) from error


def _load(path: Path, device: torch.device) -> Any:
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except UNREADABLE as error:
        raise _damaged(path, error) from error


def _check_is_of(run: Path, config: Config) -> None:
    """InputError where config.json has another training's settings than the checkpoint beside it."""
    written = Config.from_dict(read_config(run)["config"])
    parts = [
        name
        for name in ("seed", "data", "diffusion", "policy", "critic", "encoder")
        if getattr(written, name) != getattr(config, name)
    ]
    if parts:
        raise InputError(
            f"{run}: {CONFIG} and {CHECKPOINT} come from different training runs (they differ in {', '.join(parts)}); "
            f"put back the one that belongs here, or train again."
        )


def not_finite(networks: Mapping[str, Mapping[str, Tensor]]) -> list[str]:
    """Names of the networks with weights that are NaN or infinite.  networks: name -> state dict."""
    return [name for name, weights in networks.items() if not all(bool(w.isfinite().all()) for w in weights.values())]


def _damaged(path: Path, error: Exception) -> InputError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return InputError(f"{path} is damaged or not a checkpoint ({reason[:200]}); train again.")
