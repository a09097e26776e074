#!/usr/bin/env bats
bats_require_minimum_version 1.5.0
load helpers
load journal

answering() { [ "$(stat_of active)" -eq "$1" ]; }

@test "a smaller window than before, and killed: what lies beyond it is not done twice" {
    start_origin
    { make_list 20 100 '?until=enough'; make_list 400 200; } > urls
    start_uploader dir:out
    start_fetcher -j 50
    # No checkpoint beyond the one that comes before all work, with the first 50: what it did is in
    # the manifest alone.
    BIN=$FAULT_BIN SLUICE_FAULT=feeder.journal.rename:3:delay=300000 start_feeder --window 50 urls
    until_true 30 lines_at_least 400 j/manifest.jsonl
    kill_feeder
    kill -9 "$FETCHER" # or it would bring what the window has no room for
    grep -qx 'tasks 50' j/checkpoint
    start_feeder --window 5 urls
    start_fetcher
    until_true 30 answering 20
    read -rt 2.5 <> <(:) || : # longer than until a checkpoint comes
    grep -qx 'place .* 50 0' j/checkpoint # none that would cover what has not been read again
    kill_feeder
    start_feeder urls
    touch enough
    ends 60 0
    check_run urls j/manifest.jsonl
    [ "$(requests)" -eq $((20 + 20 + 400)) ] # the killed fetcher's and theirs
}
