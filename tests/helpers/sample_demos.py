"""Small demonstrations to write, read and compare."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dtql_robot.types import Demonstrations, Episode

OBS_SHAPES = {"robot": (4,), "object/pose": (3,)}


def make_episode(rng: np.random.Generator, name: str, steps: int, **changes: Any) -> Episode:
    """A random episode that ends in success and is terminated."""
    fields: dict[str, Any] = {
        "name": name,
        "obs": {k: rng.normal(size=(steps, *shape)).astype(np.float32) for k, shape in OBS_SHAPES.items()},
        "final_obs": {k: rng.normal(size=shape).astype(np.float32) for k, shape in OBS_SHAPES.items()},
        "actions": rng.uniform(-1, 1, (steps, 2)).astype(np.float32),
        "rewards": rng.normal(size=steps).astype(np.float32),
        "terminated": True,
        "truncated": False,
        "success": np.arange(steps) == steps - 1,
    }
    return Episode(**(fields | changes))


def make_demos(count: int = 12, name: str = "demo_{}", **changes: Any) -> Demonstrations:
    """`count` episodes of 5, 6, 7, 5, ... steps."""
    rng = np.random.default_rng(0)
    episodes = tuple(make_episode(rng, name.format(i), 5 + i % 3, **changes) for i in range(count))
    return Demonstrations(episodes, "made", "robomimic", "robosuite:Lift")


def assert_same_arrays(a: Any, b: Any) -> None:
    """Equal keys, dtypes, shapes and values."""
    if a is None or b is None:
        assert a is b
        return
    if isinstance(a, dict):
        assert sorted(a) == sorted(b)
        for key in a:
            assert_same_arrays(a[key], b[key])
        return
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(a, b)


def assert_same_source(a: Demonstrations, b: Demonstrations) -> None:
    """What both say about themselves as a whole."""
    assert (a.env_spec, a.attrs) == (b.env_spec, b.attrs)
    if a.env_args:
        assert a.env_args == b.env_args


def assert_same_episode(a: Episode, b: Episode) -> None:
    """Everything but the name."""
    for field in ("obs", "final_obs", "actions", "rewards", "success", "extras", "masks"):
        assert_same_arrays(getattr(a, field), getattr(b, field))
    assert (a.terminated, a.truncated, a.attrs) == (b.terminated, b.truncated, b.attrs)


_FLOAT32 = st.floats(-1e6, 1e6, width=32)
ENVIRONMENTS: list[tuple[str | None, dict[str, Any]]] = [
    (None, {}),
    ("robosuite:Lift", {"env_name": "Lift", "type": 1, "env_version": "1.4.1", "env_kwargs": {"control_freq": 20}}),
    ("FetchPush-v4", {"env_name": "FetchPush-v4", "type": 2, "env_kwargs": {"reward_type": "sparse"}}),
]
_JSON = st.none() | st.booleans() | st.integers() | st.floats(-9, 9) | st.text(max_size=5) | st.lists(st.integers())


@st.composite
def demonstrations(draw: st.DrawFn) -> Demonstrations:
    """Any demonstrations that `load` could return, with one action size and one set of observations."""
    shapes = draw(
        st.dictionaries(st.sampled_from(["a", "b", "c/d"]), st.sampled_from([(1,), (3,), (2, 2)]), min_size=1)
    )
    image = draw(st.booleans())
    dims = draw(st.integers(1, 3))
    names = draw(st.lists(st.sampled_from(["demo_7", "x", "demo_10"]), min_size=1, max_size=3))
    episodes = tuple(draw(_episode(name, shapes, dims, image)) for name in names)
    spec, env_args = draw(st.sampled_from(ENVIRONMENTS))
    attrs = draw(st.dictionaries(st.sampled_from(["problem_info", "date", "author", "my key"]), _JSON, max_size=3))
    return Demonstrations(episodes, "made", "robomimic", spec, env_args, attrs)


@st.composite
def _episode(draw: st.DrawFn, name: str, shapes: dict[str, tuple[int, ...]], dims: int, image: bool) -> Episode:
    steps = draw(st.integers(1, 4))

    def floats(*shape: int) -> Any:
        return draw(hnp.arrays(np.float32, shape, elements=_FLOAT32))

    obs = {k: floats(steps + 1, *shape) for k, shape in shapes.items()}
    if image:
        obs["image"] = draw(hnp.arrays(np.uint8, (steps + 1, 2, 2, 3)))
    terminated = draw(st.booleans())
    return Episode(
        name=name,
        obs={k: v[:-1] for k, v in obs.items()},
        final_obs={k: v[-1] for k, v in obs.items()} if draw(st.booleans()) else None,
        actions=floats(steps, dims),
        rewards=draw(hnp.arrays(np.float32, steps, elements=st.sampled_from([0.0, 1.0]) | _FLOAT32)),
        terminated=terminated,
        truncated=not terminated or draw(st.booleans()),
        success=draw(st.none() | hnp.arrays(bool, steps)),
        extras=draw(st.sampled_from([{}, {"infos/q": np.ones((steps, 2)), "states": np.full((steps, 3), 1e-300)}])),
        attrs=draw(st.dictionaries(st.sampled_from(["note", "model_file", "goal", "a/b"]), _JSON, max_size=2)),
        masks=draw(st.none() | hnp.arrays(bool, steps).filter(lambda masks: not masks.all())),
    )
