"""`python -m rtmatte`: the same as the command `rtmatte`."""

from __future__ import annotations

import sys

from rtmatte.cli import main

sys.exit(main())
