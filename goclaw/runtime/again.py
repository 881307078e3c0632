"""The same program in place of this one: same process, arguments and environment, nothing of the memory."""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn


def begin_again() -> NoReturn:
    """Called when everything is closed: whatever still runs in a thread is gone without a word."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - our own program, without a shell
