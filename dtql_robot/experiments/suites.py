"""Benchmark suites as data: which tasks with which demonstrations, and how much of each is run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dtql_robot import paper
from dtql_robot.errors import InputError, did_you_mean
from dtql_robot.experiments.methods import METHODS


@dataclass(frozen=True)
class Recording:
    """Demonstrations to collect: arguments of `collect`."""

    task: str
    episodes: int | None = None
    transitions: int | None = None
    noise: float = 0.3
    record: Literal["executed", "intended"] = "executed"
    lapses: float = 0.0
    successes_only: bool = False


@dataclass(frozen=True)
class OracleRecording:
    """Recordings of OGBench's oracles to make: what `OraclePlan` takes."""

    task: str
    kind: Literal["play", "noisy"] = "play"
    episodes: int = 150
    steps: int = 1000


@dataclass(frozen=True)
class PolicyRecording:
    """Episodes of released policies, or of random actions, to record: what `plan_of_level` takes, level by level.

    transitions: of each level.
    """

    task: str
    levels: tuple[Literal["random", "medium", "expert"], ...] = ("medium",)
    transitions: int = 100_000


@dataclass(frozen=True)
class BenchTask:
    """One task of a suite.

    data       how to record the demonstrations; None where they come from a file that the user has, or by name
    source     what that file is and where it is published
    options    further options of `train` that belong to the data, not to the recipe
    behaviour  what `--behaviour auto` would be without the labels of the file, for methods that choose a behaviour
    file       name of the recorded file, "" for NAME.hdf5; of a recording that serves several tasks the name under
               which this task's rewards are read from it
    by_name    the published data set, as `--data` takes it
    group      tasks that are summed up in one number
    row        the paper's data set whose settings and reference returns are this task's, if it has not the same name
    """

    name: str
    data: Recording | OracleRecording | PolicyRecording | None = None
    source: str = ""
    options: tuple[str, ...] = ()
    behaviour: str = ""
    file: str = ""
    by_name: str = ""
    group: str = ""
    row: str = ""

    @property
    def paper_row(self) -> paper.Row | None:
        """The paper's row of which this task has settings and references; None for tasks that the paper has not."""
        return paper.row_of(self.row or self.name)


PICK = BenchTask("pick-and-place", Recording("FetchPickAndPlace-v4"))
PUSH = BenchTask("push", Recording("FetchPush-v4", record="intended"))
MIXED = BenchTask("pick-and-place-mixed", Recording("FetchPickAndPlace-v4", episodes=300, lapses=0.7))
UNLABELLED = BenchTask(
    "pick-and-place-mixed-unlabelled",
    MIXED.data,
    options=("--reward=dataset",),  # as without its success signal
    behaviour="returns",
    file=f"{MIXED.name}.hdf5",
)
RARE = BenchTask("pick-and-place-rare", Recording("FetchPickAndPlace-v4", episodes=300, lapses=0.9))
DOOR_MORE = BenchTask(
    "door-more",
    source="the demonstrations of door-human and some hundred successful rollouts of a policy, as `convert` joins them",
    options=("--env", "AdroitHandDoor-v1"),
)
REACH = BenchTask("reach", Recording("FetchReach-v4", episodes=20))
DOOR = BenchTask(
    "door-human",
    source="D4RL door-human-v0 (door-v0_demos_clipped.hdf5)",
    options=("--env", "AdroitHandDoor-v1"),
)
LIFT = BenchTask(
    "lift",
    source="200 scripted Lift demonstrations, github asimfish/robocore data/robomimic/lift/ph/low_dim.hdf5",
    options=("--success-reward", "1", "--env", "robosuite:Lift+state=robot0_proprio-state@1.5.2,object-state"),
)
METAWORLD = tuple(
    BenchTask(f"metaworld-{name}", Recording(f"metaworld:{name}-v3", episodes=100, successes_only=True))
    for name in ("pick-place", "peg-insert-side", "door-open", "drawer-close", "button-press-topdown")
)


def _ogbench(scene: str, recording: OracleRecording | None) -> tuple[BenchTask, ...]:
    """The five tasks of a scene: from a recording to be made, or from the published data (None).

    Of cubes the reward counts those that are not in place, as published; where tasks have parts of several kinds, it is
    the sparse one of Q-chunking's authors.
    """
    options = ("--reward=dataset",) if scene.startswith("cube") else ()
    names = {k: f"{scene}-play-singletask-task{k}-v0" for k in range(1, 6)}
    return tuple(
        BenchTask(
            f"{scene}-task{k}",
            recording,
            options=options,
            file=f"{name}.npz" if recording else "",
            by_name="" if recording else f"ogbench:{name}",
            group=f"ogbench {scene}-play",
        )
        for k, name in names.items()
    )


_SCENES = ("cube-single", "cube-double", "scene", "puzzle-3x3")
OGBENCH = tuple(task for s in _SCENES for task in _ogbench(s, OracleRecording(f"ogbench:{s}-v0")))
OGBENCH_FULL = tuple(task for s in _SCENES for task in _ogbench(s, None))
OGBENCH_SMOKE = _ogbench("cube-single", OracleRecording("ogbench:cube-single-v0", episodes=2, steps=60))[1:3]

ROBOMIMIC = tuple(
    BenchTask(
        f"{task}-mh",
        options=("--max-episode-steps=500",),  # robomimic's own for multi-human data
        by_name=f"robomimic:{task}/mh/low_dim",
        group="robomimic mh",
    )
    for task in ("lift", "can", "square")
)


def _d4rl(name: str, env: str, group: str, *options: str) -> BenchTask:
    """Judged by the normalized return, so what is learned from is the recorded reward."""
    return BenchTask(
        name, options=("--env", env, "--reward=dataset", *options), by_name=f"d4rl:{name}", group=f"d4rl {group}"
    )


D4RL_ADROIT = tuple(
    _d4rl(
        f"{task}-{kind}-v1",
        f"AdroitHand{task.capitalize()}-v1",
        f"adroit {kind}",
        *(("--max-episode-steps=100",) if task == "pen" else ()),
    )
    for kind in ("human", "cloned")
    for task in ("pen", "door", "hammer", "relocate")
)
D4RL_GYM = tuple(
    _d4rl(f"{robot.lower()}-{kind}-v2", f"{robot}-v4", "gym")
    for robot in ("HalfCheetah", "Hopper", "Walker2d")
    for kind in ("medium", "medium-replay", "medium-expert")
)


def _paper(row: paper.Row) -> BenchTask:
    """A row of the paper's tables: every method learns as many updates of as many samples, from the same rewards."""
    family = "gym" if row.env.endswith("-v4") else row.dataset.partition("-")[0].replace("pen", "adroit")
    of = row.recipe
    return BenchTask(
        row.dataset,
        options=(
            *("--env", row.env, f"--max-episode-steps={row.horizon}", "--reward=dataset"),
            *(f"--steps={of['steps']}", f"--batch-size={of['optim.batch_size']}"),
            *((f"--reward-shift={of['data.reward_shift']:g}",) if "data.reward_shift" in of else ()),
        ),
        by_name=f"d4rl:{row.dataset}",
        group=f"d4rl {family}",
    )


PAPER = tuple(_paper(row) for row in paper.ROWS if not (row.dataset.startswith("antmaze") and "-v0" in row.dataset))


def _locomotion(data: PolicyRecording) -> BenchTask:
    name = "-".join((data.task.removesuffix("-v5").lower(), *data.levels))
    options = ("--env", data.task, "--reward=dataset")
    return BenchTask(name, data, options=options, group="d4rl score, data recorded here", row=f"{name}-v2")


LOCOMOTION = (
    _locomotion(PolicyRecording("Hopper-v5")),
    _locomotion(PolicyRecording("Walker2d-v5")),
    _locomotion(PolicyRecording("HalfCheetah-v5")),
    _locomotion(PolicyRecording("Hopper-v5", ("medium", "expert"), 50_000)),
)


def _antmaze(maze: str) -> BenchTask:
    env = f"d4rl:antmaze-{maze}-v2"
    options = ("--env", env, "--reward=dataset", "--reward-shift=-1")
    data = Recording(env, transitions=100_000)
    return BenchTask(
        f"antmaze-{maze}", data, options=options, group="d4rl score, data recorded here", row=f"antmaze-{maze}-v2"
    )


ANTMAZE = (_antmaze("umaze"), _antmaze("umaze-diverse"))

OWN = "own"
"""The suite whose tasks are the user's own demonstrations (`own_tasks`)."""

SUITES: dict[str, tuple[BenchTask, ...]] = {
    OWN: (),
    "smoke": (REACH,),
    "fetch": (PICK, PUSH, MIXED),
    "mixed": (MIXED, UNLABELLED, RARE, DOOR_MORE),
    "metaworld": METAWORLD,
    "manipulation": (PICK, PUSH, MIXED, DOOR, LIFT, *METAWORLD),
    "ogbench": OGBENCH,
    "ogbench-full": OGBENCH_FULL,
    "ogbench-smoke": OGBENCH_SMOKE,
    "robomimic": ROBOMIMIC,
    "robomimic-full": ROBOMIMIC,
    "locomotion": LOCOMOTION,
    "antmaze": ANTMAZE,
    "d4rl": (*D4RL_ADROIT, *D4RL_GYM),
    "d4rl-full": (*D4RL_ADROIT, *D4RL_GYM),
    "paper": PAPER,
    "paper-full": PAPER,
}


@dataclass(frozen=True)
class Size:
    """How much of a suite is run where nothing else is asked for.

    pretraining: updates before the policy starts, of the paper's settings; None: as the paper has it
    """

    methods: tuple[str, ...] = tuple(METHODS)
    seeds: tuple[int, ...] = (0, 1, 2)
    episodes: int = 100
    options: tuple[str, ...] = ()
    pretraining: int | None = None


_PAPER_METHODS = ("paper", "paper-kl", "dtql", "iql", "idql", "diffusion-bc")
_OGBENCH_METHODS = ("dtql", "mse-bc", "diffusion-bc", "idql", "iql")
SIZES = {
    OWN: Size(("dtql", "no-q", "mse-bc-successes", "mse-bc")),
    "smoke": Size(("dtql", "mse-bc"), (0,), 20, ("--steps=600",)),
    "mixed": Size(("dtql", "no-q", "mse-bc-successes", "mse-bc", "iql")),
    "ogbench": Size(_OGBENCH_METHODS, (0, 1, 2), 50, ("--steps=20000",)),
    "ogbench-full": Size(_OGBENCH_METHODS, (0, 1, 2), 50, ("--steps=1000000", "--batch-size=256")),
    "ogbench-smoke": Size(("dtql", "mse-bc"), (0,), 2, ("--steps=30",)),
    "robomimic": Size(_OGBENCH_METHODS, (0, 1, 2), 50, ("--steps=20000",)),
    "robomimic-full": Size(_OGBENCH_METHODS, (0, 1, 2), 50, ("--steps=1000000", "--batch-size=256")),
    "d4rl": Size(_OGBENCH_METHODS, (0, 1, 2), 20, ("--steps=20000",)),
    "d4rl-full": Size(_OGBENCH_METHODS, (0, 1, 2), 100, ("--steps=1000000", "--batch-size=256")),
    "locomotion": Size(
        ("dtql", "paper", "iql", "idql", "mse-bc", "diffusion-bc"),
        (0, 1, 2),
        20,
        ("--steps=20000", "--batch-size=256"),
        pretraining=5000,
    ),
    "antmaze": Size(
        ("dtql", "paper", "iql", "mse-bc"), (0, 1, 2), 50, ("--steps=20000", "--batch-size=256"), pretraining=5000
    ),
    "paper": Size(_PAPER_METHODS, (0, 1, 2), 10, ("--steps=20000",), pretraining=5000),
    "paper-full": Size(_PAPER_METHODS, (0, 1, 2), 100),
}
"""Suite -> its size, where that is not the full one.  smoke: checks in two minutes that everything works.  ogbench: on
150,000 steps of data a scene, which are recorded first.  -full: the published data and number of updates.  paper,
locomotion, antmaze: a fiftieth of the paper's updates or a little more."""


def suite(name: str) -> tuple[BenchTask, ...]:
    """The tasks of a suite.  InputError for an unknown name."""
    if name not in SUITES:
        hint = did_you_mean(name, SUITES, n=1)
        raise InputError(f"There is no suite {name!r}. {hint} Choose one of {', '.join(SUITES)}.")
    return SUITES[name]
