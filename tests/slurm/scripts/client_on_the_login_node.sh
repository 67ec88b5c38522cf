#!/usr/bin/env bash
# The client runs here and asks the queue for workers, as ~/.config/dask/jobqueue.yaml says:
#
#   jobqueue:
#     slurm: {cores: 4, processes: 4, memory: 8GB, queue: regular, interface: ib0, walltime: "04:00:00"}
#
#   nohup ./client_on_the_login_node.sh NIGHT OUT --target '05:34:31.9 +22:00:52' &
#
# Where login nodes end long processes, `sbatch` the same script: the client is then a small job of its own.
#
#SBATCH --job-name=opticam-client
#SBATCH --ntasks=1
#SBATCH --mem=2G
#SBATCH --time=08:00:00
set -euo pipefail

# Jobs are cancelled when this ends, also after Ctrl-C or an error. Run it again to go on.
exec opticam-dask reduce "$@" --cluster slurm --workers "${WORKERS:-2}"
