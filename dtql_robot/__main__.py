"""`python -m dtql_robot` is `dtql-robot`."""

import sys

from dtql_robot.cli import main

sys.exit(main())
