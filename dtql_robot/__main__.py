"""`python -m dtql_robot` is `dtql-robot`.

Python itself puts the working folder first on the path of `-m`, so that a numpy.py that lies there would be imported.
It is taken off as early as can be; the installed command `dtql-robot`, and `python -P -m dtql_robot`, never have it.
"""

import os
import sys

if sys.path[0] == os.getcwd() and sys.path[0] not in os.environ.get("PYTHONPATH", "").split(os.pathsep):
    del sys.path[0]

from dtql_robot.cli import main

sys.exit(main())
