"""Judging a policy: rollouts with recorded seeds, success rates with intervals, video and report.

Knows the Policy protocol and the Gymnasium API, never how a policy was trained.
"""

from dtql_robot.eval.episode_result import EpisodeResult
from dtql_robot.eval.evaluation import evaluate
from dtql_robot.eval.intervals import wilson_interval
from dtql_robot.eval.result import EvalResult
from dtql_robot.eval.video.spec import VideoSpec

__all__ = ["EpisodeResult", "EvalResult", "VideoSpec", "evaluate", "wilson_interval"]
