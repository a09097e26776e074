#!/usr/bin/env bats
bats_require_minimum_version 1.5.0
load helpers

@test "without workers the feeder stops reading: an endless list stays bounded" {
    mkfifo list
    (i=0; while echo "http://127.0.0.1:9/$((i++))" 2>/dev/null; do echo $i > written; done) > list 3>&- &
    PIDS+=($!)
    "$BIN/feeder" --at "$AT" --window 500 < list > manifest 2> feeder.log 3>&- & local feeder=$!
    PIDS+=($feeder)
    until_true 15 grep -q 'waiting for a fetcher' feeder.log
    [ "$(cat written)" -lt 10000 ]
    grep -q 'waiting for an uploader' feeder.log
    kill -INT $feeder
    local status=0
    wait $feeder || status=$?
    [ $status -eq 3 ]
    [ "$(grep -c '"status":"open"' manifest)" -eq 500 ]
}

@test "a large body among small ones goes through in chunks; memory stays flat" {
    start_origin
    { make_list 1000 4096; echo "$BASE/-/bytes/300000000/large"; make_list 2000 4097; } > urls
    start_uploader dir:out
    start_fetcher --chunk-size 256k
    "$BIN/feeder" --at "$AT" urls > manifest 2> feeder.log 3>&- & local feeder=$!
    PIDS+=($feeder)
    local most=0 rss
    while kill -0 $feeder 2>/dev/null; do
        for pid in $UPLOADER $FETCHER $feeder; do
            rss=$(awk '/VmHWM/ {print $2}' /proc/$pid/status 2>/dev/null || echo 0)
            [ "${rss:-0}" -le $most ] || most=$rss
        done
        read -rt 0.05 <> <(:) || :
    done
    wait $feeder
    [ "$most" -lt "${RSS_MOST_KB:-204800}" ]
    [ "$(jq -s 'map(select(.status == "delivered")) | length' manifest)" -eq 3001 ]
    local key
    key=$(jq -r 'select(.size_download == 300000000) | .key' manifest)
    "$BIN/origin" --print /-/bytes/300000000/large | cmp - "out/$key"
}
