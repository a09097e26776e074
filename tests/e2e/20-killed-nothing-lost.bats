#!/usr/bin/env bats
bats_require_minimum_version 1.5.0
load helpers

@test "fetchers and uploaders killed in mid-run: every line once, nothing lost, status 0" {
    start_origin
    make_list 20000 2000 > urls
    start_uploader dir:out
    start_fetcher; local keep=$FETCHER
    start_fetcher
    "$BIN/feeder" --at "$AT" --lease 1 urls > manifest 2> feeder.log 3>&- & local feeder=$!
    PIDS+=($feeder)
    for round in 1 2 3; do
        until_true 30 lines_at_least $((round * 3000)) manifest
        kill -9 $FETCHER
        start_fetcher
        until_true 30 lines_at_least $((round * 3000 + 1500)) manifest
        kill -9 $UPLOADER
        start_uploader dir:out
    done
    wait $feeder
    wait $keep
    check_run urls manifest
}

# settled SECONDS: lines that come into the manifest meanwhile.
settled() {
    local before
    before=$(wc -l < manifest)
    sleep "$1"
    echo $(($(wc -l < manifest) - before))
}

@test "one of four fetchers stopped: the others keep their share; on SIGCONT no line twice" {
    start_origin
    make_list 8000 1000 '?wait=20' > urls
    start_uploader dir:out
    start_fetcher -j 5; start_fetcher -j 5; start_fetcher -j 5; start_fetcher -j 5
    "$BIN/feeder" --at "$AT" --lease 1 urls > manifest 2> feeder.log 3>&- & local feeder=$!
    PIDS+=($feeder)
    until_true 30 lines_at_least 500 manifest
    local all rest
    all=$(settled 2)
    kill -STOP $FETCHER
    rest=$(settled 2)
    kill -CONT $FETCHER
    echo "# four: $((all / 2))/s, three: $((rest / 2))/s" >&3
    [ $((rest * 100)) -ge $((all * 3 / 4 * 70)) ]
    wait $feeder
    check_run urls manifest
}

@test "TERM: a fetcher and an uploader leave in mid-run with status 0, others join" {
    start_origin
    make_list 10000 1000 > urls
    start_uploader dir:out; local up=$UPLOADER
    start_fetcher; local f=$FETCHER
    "$BIN/feeder" --at "$AT" urls > manifest 2> feeder.log 3>&- & local feeder=$!
    PIDS+=($feeder)
    until_true 30 lines_at_least 2000 manifest
    start_fetcher
    start_uploader dir:out
    kill $f
    kill $up
    wait $f
    wait $up
    wait $feeder
    check_run urls manifest
}

@test "INT: the feeder drains, writes what is open, exits 3" {
    start_origin
    make_list 20000 1000 > urls
    start_uploader dir:out
    start_fetcher
    "$BIN/feeder" --at "$AT" urls > manifest 2> feeder.log 3>&- & local feeder=$!
    PIDS+=($feeder)
    until_true 30 lines_at_least 1000 manifest
    kill -INT $feeder
    local status=0
    wait $feeder || status=$?
    [ $status -eq 3 ]
    [ "$(jq -r .url manifest | sort | uniq -d | wc -l)" -eq 0 ]
    grep -q '"status":"open"' manifest
    tail -n 1 feeder.log | grep -Eq '[0-9]+ fed = [0-9]+ delivered'
}
