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

# On a machine so slow that a checkpoint came first it has done all, and ended.
kill_feeder() {
    kill -9 "$FEEDER" || :
    wait "$FEEDER" || :
}

@test "a smaller window than before, and killed: what lies beyond it is not done twice" {
    start_origin
    { make_list 20 100 '?wait=2000'; make_list 400 200; } > urls
    start_uploader dir:out
    start_fetcher -j 50
    start_feeder
    until_true 10 lines_at_least 400 j/manifest.jsonl
    kill_feeder
    kill -9 "$FETCHER" || : # or it would bring what the window has no room for
    start_feeder --window 5
    start_fetcher
    until_true 30 lines_at_least 405 j/manifest.jsonl
    kill_feeder
    start_feeder
    wait "$FEEDER"
    check_run urls j/manifest.jsonl
}
