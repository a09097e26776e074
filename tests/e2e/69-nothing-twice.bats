#!/usr/bin/env bats
# Without a crash nothing is handed out twice, however long things take; and what a restart costs.
bats_require_minimum_version 1.5.0
load helpers

start_feeder() {
    "$BIN/feeder" --at "$AT" -v --stats 0 "$@" > manifest 2> feeder.log 3>&- &
    FEEDER=$!
    PIDS+=("$FEEDER")
}

# nothing_twice LINES [MANIFEST]
nothing_twice() {
    local status=0
    wait "$FEEDER" || status=$?
    [ $status -eq 0 ]
    [ "$(grep -c 'handing it out again' feeder.log)" -eq 0 ]
    [ "$(wc -l < "${2:-manifest}")" -eq "$1" ]
    [ "$(requests)" -eq "$1" ]
}

@test "bodies and answers that take 60 leases, and queues that wait as long" {
    start_origin
    # One slot: what is in its queue waits for all before it.
    seq -f "$BASE/-/bytes/10/%.0f?wait=3000" 5 > urls
    echo "$BASE/-/bytes/200000/slow?rate=8000" >> urls # 25 s in pieces
    start_uploader dir:out
    start_fetcher -j 2 --chunk-size 16k
    start_feeder --lease 0.4 urls
    until_true 120 lines_at_least 6 manifest
    nothing_twice 6
}

@test "all are stopped for several leases, again and again" {
    start_origin
    # Whatever the clock says, the run is not over before they have been stopped.
    { make_list 200 20000 '?wait=100'; make_list 100 20001 '?wait=100&until=enough'; } > urls
    start_uploader dir:out
    start_fetcher -j 5
    start_fetcher -j 5
    start_feeder --lease 0.5 urls
    local pids=("${PIDS[@]:1}") i
    for i in 1 2 3; do
        sleep 0.7
        kill -STOP "${pids[@]}"
        sleep 2
        kill -CONT "${pids[@]}"
    done
    touch enough
    until_true 60 lines_at_least 300 manifest
    nothing_twice 300
}

@test "clocks that jump, by more than a lease" {
    [[ $BIN != *san* ]] || skip "a preloaded library and the address sanitizer do not mix"
    start_origin
    make_list 300 20000 '?wait=100' > urls
    export CLOCK_STEP=5 LD_PRELOAD=$BIN/../shim/clock_step.so
    start_uploader dir:out
    start_fetcher -j 5
    start_feeder --lease 0.5 urls
    unset LD_PRELOAD
    until_true 60 lines_at_least 300 manifest
    nothing_twice 300
}

# Nothing is being answered, and nothing was asked for between two looks.
is_idle() {
    local before
    before=$(requests)
    sleep 0.3
    [ "$(stat_of active)" -eq 0 ] && [ "$(requests)" -eq "$before" ]
}

more_than() { [ "$(requests)" -gt "$1" ]; }

@test "a killed feeder: the first new task is out within 6 beats; nothing is fetched again" {
    local lines=${RECOVERY_LINES:-60000} lease=${RECOVERY_LEASE:-4} before began ms
    # In memory: how long a disk takes to sync a journal, beside all that others write, is not meant.
    [ ! -w /dev/shm ] || { rmdir "$T" && TMPDIR=/dev/shm setup; }
    start_origin
    # The run is not over when its feeder is killed.
    { make_list $((lines * 2 / 3)) 100; make_list $((lines - lines * 2 / 3)) 101 '?until=enough'; } > urls
    start_uploader null:
    start_fetcher
    start_fetcher
    start_feeder --lease "$lease" --journal j urls
    until_true 300 lines_at_least $((lines / 2)) j/manifest.jsonl
    kill -9 "$FEEDER"
    touch enough
    wait "$FEEDER" || :
    until_true 60 is_idle # the workers end what they have
    before=$(requests)
    began=${EPOCHREALTIME/[.,]/}
    start_feeder --lease "$lease" --journal j urls
    until_true 30 more_than "$before" || { tail -3 feeder.log >&3; false; }
    ms=$(((${EPOCHREALTIME/[.,]/} - began) / 1000))
    echo "# at $before of $lines lines: first new task $ms ms after the restart, beat $((lease * 100)) ms" >&3
    [ "$ms" -le $((6 * lease * 100 + ${SLACK_MS:-3000})) ]
    until_true 300 lines_at_least "$lines" j/manifest.jsonl
    nothing_twice "$lines" j/manifest.jsonl
    [ "$(jq -r .id j/manifest.jsonl | sort -n | uniq | wc -l)" -eq "$lines" ]
}
