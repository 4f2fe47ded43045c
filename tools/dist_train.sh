#!/usr/bin/env bash
# tools/dist_train.sh CONFIG PROCESSES [options of mmlandmark train]: see dist_run.sh.
exec "$(dirname "$0")/dist_run.sh" train "$@"
