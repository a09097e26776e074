#!/usr/bin/env bats
bats_require_minimum_version 1.5.0
load helpers

# Starts a feeder with a journal; returns when it listens.
start_feeder() {
    rm -f ready
    "$BIN/feeder" --at "$AT" --lease 1 --journal j --ready-fd 4 "$@" urls 2>> feeder.log \
        4> ready 3>&- &
    FEEDER=$!
    PIDS+=("$FEEDER")
    until_true 10 test -s ready
}

kill_feeder() {
    kill -9 "$FEEDER"
    wait "$FEEDER" || :
}

lines_now() { wc -l < j/manifest.jsonl; }

@test "killed, and killed again before its first checkpoint: no line twice, none lost" {
    start_origin
    { make_list 2000 100 '?wait=20'; echo not-a-url; make_list 2000 200 '?wait=20'; } > urls
    start_uploader dir:out
    start_fetcher -j 50
    start_feeder
    for round in 1 2 3; do
        until_true 20 lines_at_least $(($(lines_now) + 300)) j/manifest.jsonl
        kill_feeder
        start_feeder
        kill_feeder
        start_feeder
    done
    local status=0
    wait "$FEEDER" || status=$?
    [ $status -eq 1 ]
    [ "$(cat j/failed)" = not-a-url ]
    check_run urls j/manifest.jsonl
}

@test "a smaller window than before, and killed: what lies beyond it is not done twice" {
    start_origin
    { make_list 20 100 '?wait=2000'; make_list 400 200; } > urls
    start_uploader dir:out
    start_fetcher -j 50
    start_feeder
    until_true 10 lines_at_least 400 j/manifest.jsonl
    kill_feeder
    kill -9 "$FETCHER" # or it would bring what the window has no room for
    start_feeder --window 5
    start_fetcher
    until_true 20 lines_at_least 405 j/manifest.jsonl
    kill_feeder
    start_feeder
    wait "$FEEDER"
    check_run urls j/manifest.jsonl
}

@test "a second INT: what is in flight stays open, status 3; the same command does it" {
    start_origin
    make_list 500 100 '?wait=500' > urls
    start_uploader --stay dir:out
    start_fetcher --stay -j 50
    start_feeder
    until_true 10 lines_at_least 50 j/manifest.jsonl
    kill -INT "$FEEDER"
    until_true 5 grep -q stopping feeder.log
    kill -INT "$FEEDER"
    local status=0
    wait "$FEEDER" || status=$?
    [ $status -eq 3 ]
    start_feeder
    wait "$FEEDER"
    check_run urls j/manifest.jsonl
}
