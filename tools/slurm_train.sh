#!/usr/bin/env bash
# Train on a Slurm cluster: GPUS=8 GPUS_PER_NODE=4 tools/slurm_train.sh PARTITION JOB_NAME CONFIG [train.py options]
set -euo pipefail
partition=${1:?usage: tools/slurm_train.sh PARTITION JOB_NAME CONFIG [options]}
job=${2:?usage: tools/slurm_train.sh PARTITION JOB_NAME CONFIG [options]}
config=${3:?usage: tools/slurm_train.sh PARTITION JOB_NAME CONFIG [options]}
gpus=${GPUS:-8}
per_node=${GPUS_PER_NODE:-$gpus}
cd "$(dirname "$0")/.."
PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" exec srun --partition="$partition" --job-name="$job" \
  --ntasks="$gpus" --ntasks-per-node="$per_node" --gres="gpu:$per_node" --cpus-per-task="${CPUS_PER_TASK:-4}" \
  --kill-on-bad-exit=1 "${PYTHON:-python}" -u tools/train.py "$config" --launcher slurm "${@:4}"
