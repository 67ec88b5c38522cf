"""A whole run with every way to other machines shut; ``test_no_network`` starts it as a script.

The night crosses the leap second of 2016, which the stamps of the simulator leave out. It prints one JSON
object: what client and workers tried to reach, and what came of the run.
"""

import json
import sys
from pathlib import Path

if __name__ == "__main__":

    def shut_the_doors(dask_worker=None):
        """Refuse, and write down, what is not loopback; workers are told by dask's name for them."""
        import ipaddress
        import socket

        socket.attempts = []

        def is_near(host):
            if host in (None, "", "localhost", b"localhost", socket.gethostname()):
                return True
            try:
                return ipaddress.ip_address(host).is_loopback
            except ValueError:
                return False

        def guarded(function, place):
            def guard(*args, **kwargs):
                address = args[place] if len(args) > place else None
                host = address[0] if isinstance(address, tuple) else address
                if not is_near(host):
                    socket.attempts.append(str(host))
                    raise OSError(f"no way to {host}")
                return function(*args, **kwargs)

            return guard

        socket.socket.connect = guarded(socket.socket.connect, 1)
        socket.socket.connect_ex = guarded(socket.socket.connect_ex, 1)
        socket.create_connection = guarded(socket.create_connection, 0)
        socket.getaddrinfo = guarded(socket.getaddrinfo, 0)
        socket.gethostbyname = guarded(socket.gethostbyname, 0)

    def attempts():
        """What was tried in this process, and whether one that is tried is seen."""
        import contextlib
        import socket

        found = list(socket.attempts)
        with contextlib.suppress(OSError):
            socket.create_connection(("192.0.2.1", 80))
        return found, socket.attempts[-1:] == ["192.0.2.1"]

    shut_the_doors()

    import numpy as np

    import opticam_dask as opticam
    from opticam_dask.cluster import connect
    from opticam_dask.simulate import CameraSetup

    root = Path(sys.argv[1])
    scene = opticam.Scene(
        n_frames=6,
        shape=(101, 127),
        n_stars=5,
        flux_range=(5e3, 5e4),
        min_separation_px=15.0,
        cameras=(CameraSetup(filter="g"), CameraSetup(filter="r")),
        start="2016-12-31T23:59:57",
        seed=3,
    )
    opticam.simulate_night(scene, root / "night")
    with connect("local", n_workers=2, memory_limit="700MB") as client:
        client.run(shut_the_doors)
        reducer = opticam.Reducer(
            root / "out", root / "night", target="05:34:32 +22:00:52", show_plots=False, verbose=False
        )
        reducer.create_catalogs()
        reducer.photometry(opticam.AperturePhotometer())
        tried = {"client": attempts(), **client.run(attempts)}
    rows = opticam.open_light_curves(root / "out").compute()
    sys.stdout.write(
        json.dumps(
            {
                "tried": tried,
                "rows": len(rows),
                "bmjd": bool(np.isfinite(rows["BMJD"]).all()),
                "fluxes": int(rows["flux"].notna().sum()),
                "span": float(np.ptp(rows["BMJD"]) * 86400),
            }
        )
    )
