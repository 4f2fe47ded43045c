#!/usr/bin/env bash
# Train on a Slurm cluster: GPUS=8 GPUS_PER_NODE=4 tools/slurm_train.sh PARTITION JOB_NAME CONFIG [train.py options]
# WARN_SECONDS (120) before the time limit, and before a preemption, Slurm warns the training, which stops where it
# can be resumed, with code 75. It is then queued again, with --resume. In a batch job the job is requeued; ask for the
# warning there: #SBATCH --requeue --signal=B:USR1@120. Ctrl-C, SIGTERM and SIGUSR1 to this script stop the training;
# after the first two it is not queued again.
set -euo pipefail
partition=${1:?usage: tools/slurm_train.sh PARTITION JOB_NAME CONFIG [options]}
job=${2:?usage: tools/slurm_train.sh PARTITION JOB_NAME CONFIG [options]}
config=${3:?usage: tools/slurm_train.sh PARTITION JOB_NAME CONFIG [options]}
gpus=${GPUS:-8}
per_node=${GPUS_PER_NODE:-$gpus}
options=("${@:4}")
if [ "${SLURM_RESTART_COUNT:-0}" -gt 0 ]; then options+=(--resume); fi
root=$(cd "$(dirname "$0")/.." >/dev/null && pwd)
if [ ! -f "$root/tools/train.py" ] && [ -n "${SLURM_JOB_ID:-}" ]; then  # sbatch runs a copy that lies elsewhere
  root=$(scontrol show job "$SLURM_JOB_ID" | sed -n 's|^ *Command=\(.*\)/tools/slurm_train\.sh.*|\1|p')
fi
if [ ! -f "$root/tools/train.py" ]; then
  echo "tools/train.py is not beside $0: start this script from a clone of the repository" >&2
  exit 2
fi
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
wanted=yes
trap 'wanted=; kill -USR1 "${step:-}" 2>/dev/null || true' INT TERM
trap 'kill -USR1 "${step:-}" 2>/dev/null || true' USR1
while true; do
  srun --partition="$partition" --job-name="$job" --signal="USR1@${WARN_SECONDS:-120}" \
    --ntasks="$gpus" --ntasks-per-node="$per_node" --gres="gpu:$per_node" --cpus-per-task="${CPUS_PER_TASK:-4}" \
    --kill-on-bad-exit=1 "${PYTHON:-python}" -u "$root/tools/train.py" "$config" --launcher slurm \
    ${options[@]+"${options[@]}"} &
  step=$!
  code=0
  while kill -0 "$step" 2>/dev/null; do wait "$step" || true; done  # a signal interrupts the wait
  wait "$step" || code=$?
  if [ "$code" -ne 75 ] || [ -z "$wanted" ]; then exit "$code"; fi
  if [ -n "${SLURM_JOB_ID:-}" ]; then
    scontrol requeue "$SLURM_JOB_ID"
    exit 75
  fi
  echo "stopped before its end: queued again, with --resume" >&2
  options+=(--resume)
done
