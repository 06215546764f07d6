"""The README of a policy's folder: what it does, what it learned from, how well it does, and how to load it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dtql_robot import __version__
from dtql_robot.errors import InputError
from dtql_robot.policy.one_step import OneStepPolicy
from dtql_robot.run_folder import CONFIG, RunSettings, read_config, read_results, read_summary
from dtql_robot.run_name import split_checkpoint

HEAD = """\
---
library_name: dtql-robot
pipeline_tag: robotics
tags: [robotics, imitation-learning, offline-reinforcement-learning, dtql]
---

# {name}

A one-step policy trained with Diffusion Trusted Q-Learning ([arXiv 2405.19690](https://arxiv.org/abs/2405.19690)) by
dtql-robot {version}.
"""

USE = """\
## How to load it

```python
from dtql_robot import load_policy

policy = load_policy("{name}")
policy.reset(seed=0)       # before each episode
action = policy.act(obs)   # obs: a dictionary with the observations above
```

For a robot: `dtql-robot serve {name}`, and `dtql_robot_client` on the robot's computer, which needs no torch.
{numpy}"""

NUMPY = """\
Without torch: `dtql_robot.policy_folder.files.load_numpy_policy("{name}").predict(obs, [])`, with a leading batch axis.
"""


def model_card(policy: OneStepPolicy, name: str, run: Path | None) -> str:
    """The text.  name: the folder's own.  run: the run with data and results, or RUN@best; None: there is none."""
    folder = None if run is None else split_checkpoint(run)[0]
    settings = read_config(folder) if folder is not None and (folder / CONFIG).exists() else None
    parts = [
        HEAD.format(name=_plain(name), version=__version__),
        "## Task\n\n" + _task(policy, settings),
        "## Success\n\n" + _success(run),
        "## Data\n\n" + "\n".join(_data(folder, settings)),
        "## Observations and actions\n\n" + "\n".join(_interface(policy)),
        USE.format(name=_plain(name), numpy=NUMPY.format(name=_plain(name)) if policy.portable() else ""),
    ]
    return "\n".join(part.rstrip() + "\n" for part in parts)


def _task(policy: OneStepPolicy, settings: RunSettings | None) -> str:
    env = policy.recorded_env.spec if policy.recorded_env else None
    where = f"Environment: `{_plain(env)}`." if env else "The environment is not recorded."
    trained = f" Trained with {_versions(settings['versions'])}." if settings and settings["versions"] else ""
    return where + trained


def _success(run: Path | None) -> str:
    """The rate with its interval; what was not measured is not claimed."""
    try:
        if run is None:
            raise InputError("no run")
        found = read_results(run)
    except InputError:
        return "Not evaluated yet. `dtql-robot eval` measures it."
    how = f"{found['episodes']} episodes in `{_plain(found['env'])}` with seed {found['seed']}"
    if found["success_rate"] is not None:
        low, high = found["ci95"]
        rate = f"**{found['success_rate']:.1%}** (95% interval {low:.1%} to {high:.1%}), {how}."
    else:
        rate = f"The environment reports no success. Mean return **{found['mean_return']:.1f}**, {how}."
    return f"{rate}\n\nIn simulation, over start states; another training seed or a real robot may differ."


def _data(run: Path | None, settings: RunSettings | None) -> Iterator[str]:
    if settings is None or run is None:
        yield "Not recorded."
        return
    summary: dict[str, Any] = read_summary(run) or {}
    size = [
        f"{summary[k]} {word}"
        for k, word in (("episodes", "episodes"), ("transitions", "transitions"))
        if isinstance(summary.get(k), int)
    ]
    yield f"`{_plain(settings['data'])}`" + (f": {', '.join(size)}." if size else ".")
    if settings["decisions"]:
        yield "\nDecisions that training made from it:\n"
        yield from (f"- {_plain(sentence)}" for sentence in settings["decisions"])


def _interface(policy: OneStepPolicy) -> Iterator[str]:
    face = policy.interface
    yield "| observation | shape | type |"
    yield "|---|---|---|"
    for key, shape in zip(face.obs_keys, face.obs_shapes, strict=True):
        yield f"| `{_plain(key)}` | {shape} | {'uint8, 0 to 255' if key in face.image_keys else 'float32'} |"
    frames = policy.image_obs.frames if policy.image_obs else 1
    seen = f" The last {frames} frames of each image are seen." if frames > 1 else ""
    yield (
        f"\nActions: {face.action_dim} numbers in the environment's units, in chunks of {policy.horizon}, of which "
        f"{policy.n_action_steps} are executed.{seen} They are chosen by act={policy.choice.cfg.act}."
    )


def _versions(versions: dict[str, str]) -> str:
    return ", ".join(f"{_plain(k)} {_plain(v)}" for k, v in versions.items())


def _plain(text: str) -> str:
    """A file's own words, without what would be markup."""
    return " ".join(str(text).translate({ord(c): "'" for c in "`<>|"}).split())
