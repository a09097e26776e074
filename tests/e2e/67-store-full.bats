#!/usr/bin/env bats
# A store whose disk is full for a while: the run stands, and goes on when there is room.
bats_require_minimum_version 1.5.0
load helpers

# `out` is a small disk, in a mount namespace that a process of its own holds.
small_disk() {
    [ "$(id -u)" -eq 0 ] && unshare -m true 2>/dev/null || skip "may not mount"
    mkdir out
    start_origin
    make_list 150 30000 '?wait=20' > urls
    unshare -m sh -c 'mount -t tmpfs -o size=2m none out && echo > ready && exec sleep 600' 3>&- &
    HOLDER=$!
    PIDS+=("$HOLDER")
    until_true 20 test -s ready
    in_disk "$BIN/uploader" --at "$AT" "$@" dir:out 2>> uploader.log 3>&- &
    PIDS+=($!)
    start_fetcher -j 5
    "$BIN/feeder" --at "$AT" --lease 1 --stats 0 urls > manifest 2> ledger 3>&- &
    FEEDER=$!
    PIDS+=("$FEEDER")
}

# shellcheck disable=SC2016 # for the shell in there
in_disk() { nsenter -t "$HOLDER" -m sh -c 'cd "$0" && exec "$@"' "$T" "$@"; }

stands() { [ "$(wc -l < manifest)" -ge 20 ] && grep -q 'waiting for room' uploader.log; }

goes_on() {
    until_true 20 stands
    local before
    sleep 1.5 # longer than the lease
    before=$(wc -l < manifest)
    [ "$before" -lt 150 ]
    in_disk mount -o remount,size=20m out
    until_true 20 lines_at_least 150 manifest
    wait "$FEEDER"
    in_disk cp -r out kept
    rmdir out && mv kept out
    check_run urls manifest
    [ "$(jq -r .tries manifest | sort -u)" = 1 ] # it cost no try
    [ "$(requests)" -le 220 ]
    grep -q 'has room again' uploader.log
    [ "$(grep -c 'waiting for room' uploader.log)" -eq 1 ]
}

@test "a full disk is waited for, and costs no try" {
    small_disk --min-free 0
    goes_on
}

@test "--min-free stops before the disk is full" {
    small_disk --min-free 1M --buffer 1M
    until_true 20 stands
    grep -q -e '--min-free left' uploader.log
    goes_on
}
