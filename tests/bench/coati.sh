#!/bin/sh
# Two Coati daemons in `coati lab`, with the internet's namespace between them, and iperf3 through their tunnel.
#
#   unshare --mount --pid --fork --kill-child --mount-proc tests/bench/coati.sh COATI EXAMPLE SECONDS RUNS WORK
#
# As the first process of its namespace it takes everything with it when it ends. Lines: see lib.sh.
set -eu

COATI=$1 EXAMPLE=$2 SECONDS_EACH=$3 RUNS=$4 WORK=$5
DAEMON=$(basename "$COATI")
. "$(dirname "$0")/lib.sh"

mkdir -p $WORK/run
export XDG_RUNTIME_DIR=$WORK/run
"$COATI" lab --keep "$EXAMPLE" > $WORK/lab 2>&1 < /dev/null || {
    echo "FAILED the lab did not come up: $WORK/lab"
    exit 1
}
at_a() { "$COATI" lab exec a -- "$@"; }
at_b() { "$COATI" lab exec b -- "$@"; }
measure tunnel 203.0.113.1 203.0.113.2
"$COATI" lab down > /dev/null
