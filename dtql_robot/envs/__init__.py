"""Simulated robots behind one call: `make_env(spec)`.

Importing this package imports no simulator; each function imports what it needs when it is called.
"""

from dtql_robot.env_record import SuccessRule
from dtql_robot.envs.info import EnvInfo
from dtql_robot.envs.make import env_info, make_env

__all__ = ["EnvInfo", "SuccessRule", "env_info", "make_env"]
