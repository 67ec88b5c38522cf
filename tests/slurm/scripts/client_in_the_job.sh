#!/usr/bin/env bash
# One batch job holds everything: scheduler, workers on all of its nodes, and the client.
#
#   sbatch --ntasks=16 client_in_the_job.sh NIGHT OUT --target '05:34:31.9 +22:00:52'
#
#SBATCH --job-name=opticam
#SBATCH --ntasks=3
#SBATCH --cpus-per-task=1
#SBATCH --mem-per-cpu=2G
#SBATCH --time=04:00:00
set -euo pipefail

scheduler=$PWD/scheduler-$SLURM_JOB_ID.json
network=(${INTERFACE:+--interface "$INTERFACE"})      # such as ib0; without it dask chooses
export OMP_NUM_THREADS=1
export DASK_OPTICAM__CONNECT_TIMEOUT=600              # seconds for all workers to come; cold file systems are slow

dask scheduler --scheduler-file "$scheduler" --port 0 --no-dashboard "${network[@]}" &
trap 'kill $(jobs -p); rm -f "$scheduler"' EXIT
until [ -s "$scheduler" ]; do sleep 0.2; done

# Workers that lose their scheduler leave within the death timeout; the job's end ends them in any case.
srun --ntasks="$SLURM_NTASKS" --overlap dask worker --scheduler-file "$scheduler" --nthreads 1 \
  --memory-limit 2GB --death-timeout 60 --local-directory "${TMPDIR:-/tmp}" --no-dashboard \
  --preload opticam_dask.preload "${network[@]}" &

opticam-dask reduce "$@" --cluster "$scheduler" --workers "$SLURM_NTASKS"
