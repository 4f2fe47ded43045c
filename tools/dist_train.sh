#!/usr/bin/env bash
# Train with several GPUs or CPU processes on one or more machines: tools/dist_train.sh CONFIG PROCESSES [train.py options]
# On several machines set NNODES, NODE_RANK, MASTER_ADDR and MASTER_PORT, and run it on each.
set -euo pipefail
config=${1:?usage: tools/dist_train.sh CONFIG PROCESSES [options]}
processes=${2:?usage: tools/dist_train.sh CONFIG PROCESSES [options]}
cd "$(dirname "$0")/.."
PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" exec "${PYTHON:-python}" -m torch.distributed.run \
  --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$processes" \
  --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${MASTER_PORT:-29500}" \
  tools/train.py "$config" --launcher pytorch "${@:3}"
