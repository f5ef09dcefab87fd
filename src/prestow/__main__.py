"""``python -m prestow``: the same as the command ``prestow``."""

import sys

from prestow.cli import main

sys.exit(main())
