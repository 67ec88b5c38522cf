"""Preload of the processes that guard local workers: they end, with their worker, when the client does."""

from __future__ import annotations

import os
import threading

from distributed import Nanny


def dask_setup(nanny: Nanny) -> None:
    """Watch standard input, a pipe that nothing is written to: it ends when the client's process does.

    Also after SIGKILL, where nothing else would tell before the workers give up looking for their scheduler.
    The worker itself leaves as soon as its nanny has gone.
    """
    threading.Thread(target=follow_client, name="opticam-leash", daemon=True).start()


def follow_client() -> None:
    """End this process when standard input does."""
    while os.read(0, 1):
        pass
    os._exit(1)
