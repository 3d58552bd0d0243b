# iperf3 between two sites; who sources this defines at_a and at_b, which run a command there, and sets WORK,
# SECONDS_EACH and RUNS.

# measure ROW ADDRESS-OF-A ADDRESS-OF-B: one TCP flow, RUNS times in each direction. Prints lines "ROW forth|back BIT/S".
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
            at_a iperf3 --client "$3" --bind "$2" --time "$SECONDS_EACH" --omit 1 --json $reverse > $WORK/iperf3.json || {
                echo "FAILED iperf3 $1 $direction: $(grep '"error"' $WORK/iperf3.json)"
                exit 1
            }
            wait $server || true
            # What arrived.
            rate=$(sed -n '/"sum_received"/,/}/s/.*"bits_per_second":[[:space:]]*\([0-9.e+]*\).*/\1/p' $WORK/iperf3.json)
            echo "$1 $direction $rate"
        done
    done
}
