"""Where the tasks run: an active client, processes of this machine, a running scheduler, or a batch queue."""

from opticam_dask.cluster.connect import connect as connect
from opticam_dask.cluster.connect import open_client as open_client
from opticam_dask.cluster.connect import resolve as resolve
from opticam_dask.cluster_spec import ClusterSpec as ClusterSpec
from opticam_dask.runner import Runner as Runner
from opticam_dask.runner import run_tasks as run_tasks
