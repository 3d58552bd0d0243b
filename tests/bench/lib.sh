# iperf3 between two sites; who sources this defines at_a and at_b, which run a command there, and sets DAEMON (the
# name of the processes that carry the tunnel), WORK, SECONDS_EACH and RUNS.

# CPU time of all daemons so far, in ticks; what their packets cost in the kernel is nearly all in it.
daemons_cpu() {
    cat /proc/[0-9]*/stat 2> /dev/null | awk -v name="($DAEMON)" '$2 == name { ticks += $14 + $15 } END { print ticks + 0 }'
}

# The number behind NAME in the sum of what arrived.
received() {
    sed -n "/\"sum_received\"/,/}/s/.*\"$1\":[[:space:]]*\([0-9.e+]*\).*/\1/p" $WORK/iperf3.json
}

# measure ROW ADDRESS-OF-A ADDRESS-OF-B: one TCP flow, RUNS times in each direction. Prints lines
#   ROW forth|back BIT/S CPU-SECONDS-OF-THE-DAEMONS-PER-GIGABYTE
measure() {
    for direction in forth back; do
        reverse=
        if [ $direction = back ]; then reverse=--reverse; fi
        run=0
        while [ $run -lt "$RUNS" ]; do
            run=$((run + 1))
            at_b iperf3 --server --one-off --bind "$3" > $WORK/server 2>&1 &
            server=$!
            sleep 0.4
            before=$(daemons_cpu)
            at_a iperf3 --client "$3" --bind "$2" --time "$SECONDS_EACH" --json $reverse > $WORK/iperf3.json || {
                echo "FAILED iperf3 $1 $direction: $(grep '"error"' $WORK/iperf3.json)"
                exit 1
            }
            wait $server || true
            ticks=$(($(daemons_cpu) - before))
            cpu=$(awk -v ticks=$ticks -v hz="$(getconf CLK_TCK)" -v bytes="$(received bytes)" \
                'BEGIN { print ticks / hz / (bytes / 1e9) }')
            echo "$1 $direction $(received bits_per_second) $cpu"
        done
    done
}
