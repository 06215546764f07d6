"""Evaluations in simulation while a policy is trained."""

from __future__ import annotations

from dtql_robot.config import Config
from dtql_robot.env_record import EnvChoice
from dtql_robot.errors import InputError
from dtql_robot.eval.evaluation import Stopped, evaluate
from dtql_robot.eval.result import EvalResult
from dtql_robot.eval.settings import EvalSettings
from dtql_robot.policy.one_step import OneStepPolicy
from dtql_robot.training.watching import Judge
from dtql_robot.training.watching import Stopped as AsksToStop


def make_judge(cfg: Config, chosen: EnvChoice) -> Judge | None:
    """What `eval_every` asks for; None where it asks for nothing.  InputError where there is no environment.

    The simulators run in processes of their own, so that neither their random numbers nor their crashes are the
    training's.  chosen: the environment and its record.
    """
    if cfg.watch.eval_every is None:
        return None
    if chosen.spec is None:
        raise InputError(f"--eval-every needs an environment, but {chosen.source} names none; pass one with --env.")
    spec, episodes = chosen.require(), cfg.watch.eval_episodes
    EvalSettings(episodes=episodes)

    def judge(policy: OneStepPolicy, stop: AsksToStop) -> EvalResult | None:
        try:
            return evaluate(
                policy,
                spec,
                episodes=episodes,
                env_args=chosen.env_args,
                where="processes",
                progress=False,
                while_training=True,
                stop=stop,
            )
        except Stopped:
            return None

    return judge
