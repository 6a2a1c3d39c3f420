#!/bin/bash
#SBATCH --job-name=recscale
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --mem=64G
#SBATCH --time=02:00:00
# sbatch slurm.sh STORE MODEL [options of `recscale fit`]
# A scheduler and the driver on the first node, and on each node a worker process for each of its cores. STORE and MODEL lie
# where all nodes see them; `recscale` and `dask` are on PATH (activate the environment before sbatch).
set -euo pipefail
store=$1 model=$2
shift 2
folder=$(mktemp -d "$SLURM_SUBMIT_DIR/recscale-$SLURM_JOB_ID.XXXXXX")
told=$folder/scheduler.json
trap 'kill $(jobs -p) 2>/dev/null; wait; rm -rf "$folder"' EXIT

dask scheduler --port 0 --no-dashboard --dashboard-address :0 --scheduler-file "$told" &
until grep -q address "$told" 2>/dev/null; do sleep 0.5; done
srun dask worker --scheduler-file "$told" --nworkers "$SLURM_CPUS_PER_TASK" --nthreads 1 \
    --local-directory "${TMPDIR:-/tmp}" --no-dashboard &

address=$(python -c 'import json, sys; print(json.load(open(sys.argv[1]))["address"])' "$told")
recscale fit "$store" --out "$model" --executor dask --option address="$address" --option timeout=300 \
    --option shared_files=false --checkpoint "$model.state" --resume "$@"
