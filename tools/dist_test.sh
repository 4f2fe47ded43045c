#!/usr/bin/env bash
# tools/dist_test.sh CONFIG PROCESSES [options of mmlandmark test]: see dist_run.sh.
exec "$(dirname "$0")/dist_run.sh" test "$@"
