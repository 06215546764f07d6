"""Search the gait of D4RL's ant: the numbers of `GAIT` in dtql_robot/envs/collection/ant_gait.py.

    python benchmarks/makers/search_gait.py --generations 90 --seed 0

First a gait that follows a clock, by evolution strategies with an adapted covariance (Hansen 2016, arXiv 1604.00772):
the fastest along five random directions, from random yaws, under noise.  Then the phase as a linear function of what
the joints tell, so that no clock is needed.  Prints the numbers and the speeds of that gait.  Three minutes on a core.
"""

from __future__ import annotations

import argparse
import dataclasses
import xml.etree.ElementTree as ElementTree

import mujoco
import numpy as np

from dtql_robot.envs.collection.ant_gait import Gait, motors, posture, rhythm
from dtql_robot.envs.families.d4rl_maze import maze_model

STEP = 0.1  # seconds of a decision, five steps of the simulator
START = np.array([0, 0, 0.75, 1, 0, 0, 0, 0, 1, 0, -1, 0, -1, 0, 1], float)
FALLEN = 0.2  # cosine of the torso's tilt
NOISE = 0.1
FIRST = np.array([0, 0, 0, 0, 0.8, 0, 0, 0, 0.8, 0, 0, 0])
NO_PHASE = ((0.0, 0.0),) * 6


def decoded(x: np.ndarray) -> tuple[Gait, float]:
    """(the gait of a point of the search, its frequency in rad/s)."""
    stiffness, damping, frequency = (1.5, 0.15, 6.0) * np.exp((0.5, 0.7, 0.3) * x[:3])
    hips, ankles, lean = x[3:6], x[6:9], x[9:12]
    constant = (0.3, 1.0, 1.0)
    triples = (tuple(float(v) for v in constant * part) for part in (hips, ankles, lean))
    return Gait(float(stiffness), float(damping), *triples, NO_PHASE), float(frequency)


class Ground:
    """The ant without a maze around it."""

    def __init__(self, rng: np.random.Generator) -> None:
        root = ElementTree.fromstring(maze_model("umaze"))
        world = root.find("worldbody")
        for wall in world.findall("geom[@type='box']"):
            world.remove(wall)
        self.model = mujoco.MjModel.from_xml_string(ElementTree.tostring(root, encoding="unicode"))
        self.data, self.rng = mujoco.MjData(self.model), rng

    def reset(self) -> None:
        yaw = self.rng.uniform(-np.pi, np.pi)
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:] = START + self.rng.uniform(-0.1, 0.1, len(START))
        self.data.qvel[:] = 0.1 * self.rng.standard_normal(self.model.nv)
        self.data.qpos[3:7] = np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)

    @property
    def state(self) -> np.ndarray:
        return np.concatenate([self.data.qpos, self.data.qvel])

    def step(self, action: np.ndarray, noise: float) -> bool:
        """Whether the ant still stands."""
        self.data.ctrl[:] = np.clip(action + noise * self.rng.standard_normal(len(action)), -1, 1)
        mujoco.mj_step(self.model, self.data, 5)
        return bool(1 - 2 * np.sum(self.data.qpos[4:6] ** 2) > FALLEN)

    def speed(
        self, gait: Gait, frequency: float | None, direction: float, noise: float = NOISE, steps: int = 100
    ) -> float:
        """Metres a second along the direction, less half of those across it; -1 after a fall.

        frequency: of a clock, in rad/s; None: the phase is read from the joints.
        """
        self.reset()
        first, ahead = self.data.qpos[:2].copy(), np.array([np.cos(direction), np.sin(direction)])
        for t in range(steps):
            clock = (
                None if frequency is None else np.array([np.cos(frequency * STEP * t), np.sin(frequency * STEP * t)])
            )
            if not self.step(motors(gait, posture(self.state, direction), clock), noise):
                return -1.0
        gone = self.data.qpos[:2] - first
        return float((gone @ ahead - 0.5 * abs(gone[0] * ahead[1] - gone[1] * ahead[0])) / (steps * STEP))


def fitness(x: np.ndarray, ground: Ground, runs: int = 5) -> float:
    """Mean speed and half of the lowest."""
    first = ground.rng.uniform(0, np.pi / 2)
    speeds: list[float] = []
    for k in range(runs):
        speeds.append(ground.speed(*decoded(x), first + 2 * np.pi * k / runs))
        if k == 1 and max(speeds) < 0.02:  # not worth the others
            break
    return float(np.mean(speeds) + 0.5 * np.min(speeds))


def evolve(ground: Ground, generations: int, size: int = 20, parents: int = 6) -> np.ndarray:
    """The middle of the last generation."""
    n, rng = len(FIRST), ground.rng
    weights = np.log(parents + 0.5) - np.log(np.arange(1, parents + 1))
    weights /= weights.sum()
    effective = 1 / np.sum(weights**2)
    path_rate, step_rate = 4 / (n + 4), (effective + 2) / (n + effective + 5)
    rank_one = 2 / ((n + 1.3) ** 2 + effective)
    rank_many = 2 * (effective - 2 + 1 / effective) / ((n + 2) ** 2 + effective)
    length = np.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n * n))
    middle, sigma, shape = FIRST.copy(), 0.6, np.eye(n)
    step_path, shape_path = np.zeros(n), np.zeros(n)
    for generation in range(generations):
        values, axes = np.linalg.eigh(shape)
        values = np.maximum(values, 1e-12)
        moves = rng.standard_normal((size, n)) @ (axes * np.sqrt(values)).T
        scores = np.array([fitness(middle + sigma * move, ground) for move in moves])
        best = np.argsort(-scores)[:parents]
        mean = weights @ moves[best]
        middle = middle + sigma * mean
        whitened = (axes / np.sqrt(values)) @ axes.T @ mean
        step_path = (1 - step_rate) * step_path + np.sqrt(step_rate * (2 - step_rate) * effective) * whitened
        shape_path = (1 - path_rate) * shape_path + np.sqrt(path_rate * (2 - path_rate) * effective) * mean
        shape = (1 - rank_one - rank_many) * shape + rank_one * np.outer(shape_path, shape_path)
        shape += rank_many * (moves[best].T * weights) @ moves[best]
        sigma *= np.exp(step_rate / (1 + step_rate) * (np.linalg.norm(step_path) / length - 1))
        if generation % 10 == 9:
            print(f"generation {generation + 1}: best {scores.max():.2f}, spread {sigma:.3f}", flush=True)
    return middle


def read_phase(ground: Ground, gait: Gait, frequency: float, episodes: int = 60) -> np.ndarray:
    """(6, 2) weights that tell a walk's phase from its joints, by least squares over walks with turns."""
    seen, phases = [], []
    for _ in range(episodes):
        ground.reset()
        angle, direction = ground.rng.uniform(-np.pi, np.pi, 2)
        for t in range(100):
            if t % 40 == 39:
                direction += ground.rng.uniform(-np.pi / 2, np.pi / 2)
            at, phase = posture(ground.state, direction), np.array([np.cos(angle), np.sin(angle)])
            if t > 5:
                seen.append(rhythm(at))
                phases.append(phase)
            if not ground.step(motors(gait, at, phase), NOISE):
                break
            angle += frequency * STEP
    return np.linalg.lstsq(np.array(seen), np.array(phases), rcond=None)[0]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generations", type=int, default=90)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    ground = Ground(np.random.default_rng(options.seed))
    gait, frequency = decoded(evolve(ground, options.generations))
    print(f"a period of {2 * np.pi / frequency:.2f} s with a clock")
    weights = read_phase(ground, gait, frequency)
    rounded = {field.name: np.round(getattr(gait, field.name), 3).tolist() for field in dataclasses.fields(gait)} | {
        "phase": np.round(weights, 4).tolist()
    }
    found = Gait(**{name: _tuples(value) for name, value in rounded.items()})
    print(f"GAIT = {found}")
    for noise in (0.0, 0.1, 0.2, 0.3, 0.5):
        speeds = [ground.speed(found, None, ground.rng.uniform(-np.pi, np.pi), noise, 300) for _ in range(12)]
        print(f"noise {noise}: {np.mean(speeds):.2f} m/s, the slowest of 12 walks {min(speeds):.2f}")


def _tuples(value: object) -> object:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


if __name__ == "__main__":
    main()
