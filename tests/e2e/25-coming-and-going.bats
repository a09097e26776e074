#!/usr/bin/env bats
bats_require_minimum_version 1.5.0
load helpers

# Whether a file has not grown since the last call.
same_size() {
    local before=${SIZE:-}
    SIZE=$(stat -c %s "$1")
    [ "$before" = "$SIZE" ]
}

@test "--stay: workers serve one run after the other" {
    start_origin
    start_uploader --stay dir:out; local up=$UPLOADER
    start_fetcher --stay
    for run in 1 2 3; do
        make_list 300 "$((run * 100))" > urls
        run -0 bash -c "'$BIN/feeder' --at $AT urls > manifest"
        check_run urls manifest
    done
    kill -0 $up
    kill $up $FETCHER
    wait $up
    wait $FETCHER
}

@test "workers that hear another run drop the old one without a word" {
    start_origin
    make_list 200000 100 '?wait=20' > old # not over before its feeder is killed
    make_list 2000 200 '?wait=500' > urls
    start_uploader dir:out
    start_fetcher
    start_fetcher -j 20
    "$BIN/feeder" --at "$AT" old > old.manifest 2> old.log 3>&- & local feeder=$!
    PIDS+=($feeder)
    until_true 20 lines_at_least 100 old.manifest
    kill -STOP "$UPLOADER" # what is sent stays unread: fetchers still answer for it,
    until_true 5 same_size old.manifest
    kill -9 $feeder
    wait $feeder || : # or the address is still its
    kill -STOP "$FETCHER" # one of them not before the new run's tasks are under way
    "$BIN/feeder" -v --at "$AT" urls > manifest 2> feeder.log 3>&- & feeder=$!
    PIDS+=($feeder)
    kill -CONT "$UPLOADER"
    until_true 30 lines_at_least 1 manifest
    kill -CONT "$FETCHER"
    wait $feeder
    diff <(jq -r 'select(.status == "delivered") | .url' manifest | sort) <(sort urls)
    run -1 grep 'out again' feeder.log
}

@test "workers whose feeder is dead leave at the second TERM" {
    start_origin
    make_list 1000 100 '?wait=50' > urls
    start_uploader dir:out
    start_fetcher -j 5
    "$BIN/feeder" --at "$AT" urls > manifest 2> feeder.log 3>&- & local feeder=$!
    PIDS+=($feeder)
    until_true 20 lines_at_least 50 manifest
    kill -9 $feeder
    local began=$SECONDS
    kill $FETCHER $UPLOADER
    until_true 20 grep -q stopping fetcher.log
    until_true 20 grep -q stopping uploader.log
    kill $FETCHER $UPLOADER
    wait $FETCHER
    wait $UPLOADER
    [ $((SECONDS - began)) -lt 30 ] # after one TERM it would be --wait
}

@test "an uploader with another DEST is refused in words; with --join it takes part" {
    start_origin
    endless_list 100 '?wait=20'
    start_uploader dir:out
    start_fetcher -j 20
    "$BIN/feeder" --at "$AT" list > manifest 2> feeder.log 3>&- & local feeder=$!
    PIDS+=($feeder)
    until_true 20 lines_at_least 100 manifest
    run -2 "$BIN/uploader" --at "$AT" dir:other
    [[ $output == *"this run stores into dir:out, not dir:other"* ]]
    start_uploader --join dir:other
    until_true 20 eval '[ -n "$(find other -type f 2>/dev/null)" ]'
    touch enough
    wait $feeder
    [ "$(find out other -type f | wc -l)" -eq "$(wc -l < urls)" ]
}

@test "a worker that comes when a run is over hears so at once" {
    start_origin
    mkfifo list
    start_uploader dir:out; local up=$UPLOADER
    start_fetcher; local f1=$FETCHER
    start_fetcher; local f2=$FETCHER
    "$BIN/feeder" --at "$AT" -v list > manifest 2> feeder.log 3>&- & local feeder=$!
    PIDS+=($feeder)
    exec 7> list
    until_true 30 all_joined 3
    make_list 1 10 >&7
    until_true 10 lines_at_least 1 manifest
    kill -STOP $f2 # the feeder says goodbye to it, for some seconds, and so is still there
    exec 7>&-
    wait $f1
    start_fetcher
    wait $FETCHER
    kill -0 $feeder
    kill -CONT $f2
    wait $f2
    wait $up
    wait $feeder
}

@test "a fetcher leaves with a body that no uploader is left to take" {
    start_origin
    make_list 2 1000 '?wait=5000&times=1' > urls # long enough to be seen, the first time
    start_uploader dir:out
    start_fetcher -j 2
    "$BIN/feeder" --at "$AT" --lease 1 urls > manifest 2> feeder.log 3>&- &
    FEEDER=$!
    PIDS+=("$FEEDER")
    until_true 30 eval '[ "$(stat_of active)" -eq 2 ]'
    kill -TERM "$FETCHER" "$UPLOADER"
    until_true 30 ended "$FETCHER"
    start_uploader dir:out
    start_fetcher
    until_true 20 lines_at_least 2 manifest
    wait "$FEEDER"
    check_run urls manifest
}

@test "a fetcher that died idle keeps nothing from the others" {
    start_origin
    mkfifo list
    start_uploader dir:out
    start_fetcher -j 100
    local first=$FETCHER
    "$BIN/feeder" --at "$AT" --lease 30 -v list > manifest 2> feeder.log 3>&- &
    FEEDER=$!
    PIDS+=("$FEEDER")
    start_fetcher -j 50
    exec 7> list
    until_true 20 all_joined 3
    connections() { find "/proc/$FEEDER/fd" -lname 'socket:*' | wc -l; }
    fewer_than() { [ "$(connections)" -lt "$1" ]; }
    local before
    before=$(connections)
    kill -9 "$first"
    wait "$first" || :
    until_true 20 fewer_than "$before" # the feeder's socket knows
    make_list 20 1000 > urls
    cat urls >&7
    until_true 15 lines_at_least 20 manifest # before the lease is over
    exec 7>&-
    wait "$FEEDER"
    check_run urls manifest
}
