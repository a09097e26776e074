#!/usr/bin/env bats
bats_require_minimum_version 1.5.0
load helpers

# Lines that the endless list has had to give; the file is empty for a moment, each time.
count_written() {
    local count=
    until [ -n "$count" ]; do count=$(cat written); done
    echo "$count"
}

@test "without workers the feeder stops reading: an endless list stays bounded" {
    mkfifo list
    (i=0; while echo "http://127.0.0.1:9/$((i++))" 2>/dev/null; do echo $i > written; done) > list 3>&- &
    PIDS+=($!)
    "$BIN/feeder" --at "$AT" --window 500 < list > manifest 2> feeder.log 3>&- & local feeder=$!
    PIDS+=($feeder)
    until_true 30 grep -q 'waiting for an uploader' feeder.log
    [ "$(count_written)" -lt 10000 ]
    grep -q 'waiting for a fetcher' feeder.log
    kill -INT $feeder
    local status=0
    wait $feeder || status=$?
    [ $status -eq 3 ]
    [ "$(grep -c '"status":"open"' manifest)" -eq 500 ]
}

# Peak memory of a process, in kB.
peak() { awk '/VmHWM/ {print $2}' "/proc/$1/status"; }

# Memory of a process that is not somebody else's too, in kB: block by block an uploader comes to see
# all that the fetchers share.
own() { awk '/RssAnon|RssFile/ {kb += $2} END {print kb}' "/proc/$1/status"; }

# What has been fetched and is not stored: most of the window.
fetched_ahead() { [ "$(requests)" -ge $(($(wc -l < manifest) + 1600)) ]; }

@test "a store of 1 MB/s under a fast origin: everything waits for it, memory stays flat" {
    [[ $BIN != *san* ]] || skip "a preloaded library and the address sanitizer do not mix"
    start_origin
    endless_list 4096
    # (SLOW_DISK: what the machine is late is made up for)
    SLOW_DISK=1000000 LD_PRELOAD=$BIN/../shim/slow_store.so \
        start_uploader -j 1 --buffer 2M dir:out
    start_fetcher; local first=$FETCHER
    start_fetcher
    "$BIN/feeder" --at "$AT" --window 2000 --stats 0 < list > manifest 2> feeder.log 3>&- &
    local feeder=$! pid
    PIDS+=($feeder)
    until_true 60 lines_at_least 800 manifest
    # Each has its memory, and what is on its way stands before the store.
    for pid in $first $FETCHER; do until_true 30 has_worked "$pid"; done
    until_true 90 fetched_ahead
    local lines read began=$EPOCHREALTIME before=() after=()
    lines=$(wc -l < manifest)
    for pid in $feeder $first $FETCHER; do before+=("$(peak "$pid")"); done
    before+=("$(own "$UPLOADER")")
    sleep 6
    lines=$(($(wc -l < manifest) - lines))
    read=$(wc -l < urls)
    local ms=$(((${EPOCHREALTIME/./} - ${began/./}) / 1000)) i
    echo "# $((lines * 4096 / ms)) kB/s stored, $read lines written, $(wc -l < manifest) settled" >&3
    [ $((lines * 4096 / ms)) -le 1100 ]
    [ $((lines * 4096 / ms)) -ge 500 ]
    # window + what a pipe and the feeder's read buffer hold
    [ "$read" -lt $(($(wc -l < manifest) + 2000 + 6000)) ]
    for pid in $feeder $first $FETCHER; do after+=("$(peak "$pid")"); done
    after+=("$(own "$UPLOADER")")
    echo "# peak kB of feeder, fetchers, uploader: ${before[*]}, then ${after[*]}" >&3
    # 2,000 bodies are on their way, 8 MB: where they stand may change
    for i in 0 1 2 3; do [ "${after[i]}" -le $((before[i] + 8000)) ]; done
    kill -INT $feeder
    local status=0
    wait $feeder || status=$?
    [ $status -eq 3 ]
    jq -r 'select(.status != "open") | .status' manifest | sort | uniq -c | grep -q delivered
    run -1 grep -q '"status":"failed"' manifest
}

@test "an origin that cuts what back-pressure has paused costs no try, nor does the pause count" {
    [[ $BIN != *san* ]] || skip "a preloaded library and the address sanitizer do not mix"
    start_origin
    echo "$BASE/-/bytes/60000000/a?reset=40000000&times=1" > urls
    SLOW_STORE=10000000 LD_PRELOAD=$BIN/../shim/slow_store.so start_uploader --buffer 1M dir:out
    # 6 s in all, nearly all of them paused: neither a stall nor too long
    start_fetcher --hwm 2 --chunk-size 64k --speed-limit 1k --speed-time 1 --max-time 4
    run -0 bash -c "'$BIN/feeder' -v --retry 0 --at $AT urls > manifest"
    [ "$(jq -r '"\(.status) \(.tries) \(.size_download)"' manifest)" = "delivered 1 60000000" ]
}
