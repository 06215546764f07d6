"""What a data set says of its environment: how it is written, when it applies, and whether it can be right."""

from dtql_robot.env_record.check import MAX_STEPS, check_record
from dtql_robot.env_record.choice import OGBENCH_KINDS, EnvChoice, choose_env, is_module_id, same_environment
from dtql_robot.env_record.d4rl_names import D4RLTask, d4rl_task
from dtql_robot.env_record.record import (
    CAMERA_VIEWS,
    DRAWING,
    ENV_TYPE_GYM,
    ENV_TYPE_ROBOSUITE,
    EVAL_SPEC,
    FAMILIES,
    GYM_SPEC,
    OWN_SPEC,
    env_kwargs,
    env_spec_of,
    record_as,
    recorded_kwargs,
    with_time_limit,
)
from dtql_robot.env_record.scores import recorded_scores
from dtql_robot.env_record.success import SuccessRule, success_rule

__all__ = [
    "CAMERA_VIEWS",
    "DRAWING",
    "ENV_TYPE_GYM",
    "ENV_TYPE_ROBOSUITE",
    "EVAL_SPEC",
    "FAMILIES",
    "GYM_SPEC",
    "MAX_STEPS",
    "OGBENCH_KINDS",
    "OWN_SPEC",
    "D4RLTask",
    "EnvChoice",
    "SuccessRule",
    "check_record",
    "choose_env",
    "d4rl_task",
    "env_kwargs",
    "env_spec_of",
    "is_module_id",
    "record_as",
    "recorded_kwargs",
    "recorded_scores",
    "same_environment",
    "success_rule",
    "with_time_limit",
]
