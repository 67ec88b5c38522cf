"""What a user of the client's host runs: ``python job.py CLUSTER DATA OUT``; its estimator is its own.

The estimator leaves the name of the host it ran on in SHARE/seen, and on a host named in SHARE/hold it does
not go on before that file is gone.
"""

import sys
import time
from pathlib import Path

import beside
import numpy as np

import opticam_dask as opticam

cluster, data, out = sys.argv[1:]
SHARE = Path(data).parent


def level(data, position, semimajor_axis, semiminor_axis, orientation):
    import socket

    host = socket.gethostname()
    (SHARE / "seen" / host).touch()
    hold = SHARE / "hold" / host
    if hold.exists():
        (SHARE / "seen" / f"{host} held").touch()
        while hold.exists():
            time.sleep(0.05)
        (SHARE / "seen" / f"{host} released").touch()
    return beside.quartiles(np.asarray(data))


with opticam.Reducer(out, data, cluster=cluster, show_plots=False, verbose=False) as reducer:
    reducer.create_catalogs(max_catalog_sources=6)
    photometer = opticam.AperturePhotometer(forced=True, local_background_estimator=level)
    summary = reducer.photometry(photometer, export_csv=False)
sys.stdout.write(f"{len(summary)} blocks\n")
