#!/usr/bin/env bats
bats_require_minimum_version 1.5.0
load helpers

# Bodies from small to more than a chunk of 256 KiB.
mixed_list() {
    local i
    for ((i = 0; i < $1; i++)); do
        echo "$BASE/-/bytes/$(((i * 7919) % 300000 + 1))/$i"
    done
}

maps_memory() { grep -q 'memfd:sluice' "/proc/$1/maps"; }

@test "on one machine an uploader reads the fetcher's memory" {
    start_origin
    mixed_list 300 > urls
    make_list 300 70000 '?wait=300' >> urls
    start_uploader dir:out
    start_fetcher -j 20
    "$BIN/feeder" --at "$AT" urls > manifest 2> feeder.log 3>&- & local feeder=$!
    PIDS+=($feeder)
    until_true 10 maps_memory "$UPLOADER"
    wait $feeder
    check_run urls manifest
}

@test "an uploader that was stopped past its lease stores nothing of what was overwritten meanwhile" {
    start_origin
    mixed_list 6000 > urls
    start_uploader -j 1 dir:out; local stopped=$UPLOADER
    start_uploader dir:out
    start_fetcher -j 60
    "$BIN/feeder" --at "$AT" --lease 1 urls > manifest 2> feeder.log 3>&- & local feeder=$!
    PIDS+=($feeder)
    until_true 10 maps_memory "$stopped"
    local round
    for round in 1 2 3; do
        until_true 30 lines_at_least $((round * 1000)) manifest
        kill -STOP $stopped
        sleep 2
        kill -CONT $stopped
    done
    wait $feeder
    check_run urls manifest
}

@test "a killed fetcher's memory is read to its end" {
    start_origin
    mixed_list 3000 > urls
    start_uploader dir:out
    start_fetcher -j 60
    start_fetcher -j 60
    "$BIN/feeder" --at "$AT" --lease 1 urls > manifest 2> feeder.log 3>&- & local feeder=$!
    PIDS+=($feeder)
    local round
    for round in 1 2; do
        until_true 30 lines_at_least $((round * 800)) manifest
        kill -9 "$FETCHER"
        start_fetcher -j 60
    done
    wait $feeder
    check_run urls manifest
}

@test "an uploader that can't reach that memory is sent the bodies" {
    start_origin
    mixed_list 500 > urls
    unshare --fork --pid --kill-child --mount-proc \
        "$BIN/uploader" --at "$AT" dir:out 2> uploader.log 3>&- & local up=$!
    PIDS+=($up)
    start_fetcher
    timeout 60 "$BIN/feeder" --at "$AT" urls > manifest 2> feeder.log
    check_run urls manifest
}
