#!/usr/bin/env bats
bats_require_minimum_version 1.5.0
load helpers

# A worker that comes, looks at the store, and goes.
come_and_go() {
    timeout 20 "$BIN/uploader" --at "ipc://$T/nobody" --wait 0.1 dir:out 2>> others.log || :
}

# shimmed_uploader NAME=VALUE [OPTION...]: one whose store is another (tests/shim).
shimmed_uploader() {
    [[ $BIN != *san* ]] || skip "a preloaded library and the address sanitizer do not mix"
    env LD_PRELOAD="$BIN/../shim/slow_store.so" "$1" "$BIN/uploader" --at "$AT" "${@:2}" dir:out \
        2>> uploader.log 3>&- &
    PIDS+=($!)
}

@test "what a killed uploader has left in the store is gone when the last one ends" {
    start_origin
    endless_list 100 '?wait=20'
    start_uploader dir:out
    start_fetcher -j 50
    "$BIN/feeder" --at "$AT" --window 100 list > manifest 2> feeder.log 3>&- & local feeder=$!
    PIDS+=($feeder)
    until_true 30 lines_at_least 20 manifest
    echo torn > out/.sluice-0123456789abcdef-r5
    touch enough
    wait $feeder
    wait "$UPLOADER"
    check_run urls manifest
}

@test "--overwrite: an uploader that comes leaves what the others are about to rename alone" {
    start_origin
    make_list 40 100 > urls
    for run in 1 2; do
        shimmed_uploader SLOW_RENAME=0.2 --overwrite
        start_fetcher
        "$BIN/feeder" --at "$AT" --retry 0 urls > manifest 2> feeder.log 3>&- & local feeder=$!
        PIDS+=($feeder)
        while kill -0 $feeder 2>/dev/null; do come_and_go; done
        wait $feeder
        check_run urls manifest
    done
}

@test "--overwrite: a directory that goes when its object is about to be renamed is made again" {
    start_origin
    make_list 1 100 > urls
    about_to() { [ -n "$(find out -name '.sluice-*-r*')" ]; }
    for run in 1 2; do
        shimmed_uploader RENAME_AFTER="$T/gone" --overwrite
        start_fetcher
        "$BIN/feeder" --at "$AT" --retry 0 urls > manifest 2> feeder.log 3>&- & local feeder=$!
        PIDS+=($feeder)
        [ $run -eq 1 ] || { until_true 30 about_to; rm -rf out/*; touch gone; }
        wait $feeder
        check_run urls manifest
    done
}

@test "without O_TMPFILE: uploaders come and are killed, nothing fails and nothing is left" {
    start_origin
    endless_list 1000
    shimmed_uploader NO_TMPFILE=1; local first=$!
    shimmed_uploader NO_TMPFILE=1; local victim=$!
    start_fetcher
    "$BIN/feeder" --at "$AT" --lease 1 --retry 0 --window 1000 list > manifest 2> feeder.log 3>&- &
    local feeder=$!
    PIDS+=($feeder)
    until_true 30 lines_at_least 500 manifest
    until_true 30 has_worked "$victim"
    kill -9 "$victim"
    come_and_go
    until_true 30 has_worked "$first"
    touch enough
    while kill -0 $feeder 2>/dev/null; do come_and_go; done
    wait $feeder
    wait "$first"
    check_run urls manifest
}
