#!/usr/bin/env bash
# Run a command in several processes: tools/dist_run.sh train|test CONFIG PROCESSES [options of the command]
# On several machines set NNODES, NODE_RANK, MASTER_ADDR and MASTER_PORT, and run it on each. It is a shell on
# `mmlandmark launch`, which can do more.
set -euo pipefail
usage="usage: tools/dist_train.sh or tools/dist_test.sh CONFIG PROCESSES [options]"
command=${1:?$usage}
config=${2:?$usage}
processes=${3:?$usage}
root=$(cd "$(dirname "$0")/.." >/dev/null && pwd)  # files are relative to where the user is
where=(--processes "$processes")
if [ "${NNODES:-1}" != 1 ]; then
  master="${MASTER_ADDR:?several machines need MASTER_ADDR}:${MASTER_PORT:-29500}"
  where+=(--nodes "$NNODES" --node-rank "${NODE_RANK:-0}" --master "$master")
fi
PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" exec "${PYTHON:-python}" -m mmlandmark launch \
  "${where[@]}" "$command" "$config" "${@:4}"
