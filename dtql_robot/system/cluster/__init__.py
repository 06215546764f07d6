"""Work on other processes and machines: the same tasks, given to this machine's processes, to Ray, or to Slurm.

A task is a call that depends on its item alone (episode i of an evaluation, demonstration i of a collection), so that
it can be done anywhere, and again wherever a machine was lost, with one and the same result.
"""

from dtql_robot.system.cluster.connect import Cluster, Pool, connect
from dtql_robot.system.cluster.finished import Finished
from dtql_robot.system.cluster.settings import ClusterSettings

__all__ = ["Cluster", "ClusterSettings", "Finished", "Pool", "connect"]
