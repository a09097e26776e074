#!/usr/bin/env bats
bats_require_minimum_version 1.5.0
load helpers

ROOT=$BATS_TEST_DIRNAME/../..
CONFORM=$ROOT/scripts/conform
FAULT_BIN=${FAULT_BIN:-$ROOT/build-faults/bin}
EXAMPLE=$ROOT/scripts/examples/uploader.py

start_feeder() {
    "$BIN/feeder" --at "$AT" "$@" > manifest 2> feeder.log 3>&- &
    FEEDER=$!
    PIDS+=("$FEEDER")
}

start_example() {
    "$EXAMPLE" --at "$AT" "$@" 2>> example.log 3>&- &
    EXAMPLE_PID=$!
    PIDS+=("$EXAMPLE_PID")
}

# Plays all cases; prints what did not pass.
conforms() {
    "$CONFORM" --jobs 6 --timeout 30 "$@" > tap || { grep -A 12 '^not ok' tap; return 1; }
    [ "$(grep -c '^ok' tap)" -ge 40 ]
    run -1 grep SKIP tap
}

# By whom the manifest's objects were stored: a pid a line.
uploaders() { jq -r '.uploader | split(":")[1]' manifest | sort -u; }

@test "our uploader keeps the protocol, over ipc and tcp" {
    conforms "$BIN/uploader --at {at} dir:{dir}"
    conforms --tcp "$BIN/uploader"
}

@test "ours, with a thread that is slow with the old run's body when another run is heard" {
    SLUICE_FAULT=uploader.written:2:delay=2000 \
        run -0 "$CONFORM" --case another-run "$FAULT_BIN/uploader"
}

@test "the example keeps the protocol, over ipc and tcp" {
    conforms "$EXAMPLE --at {at} dir:{dir}"
    conforms --tcp "$EXAMPLE"
}

@test "what conform tests is written in the protocol, word for word" {
    local rule text
    text=$(tr -s '[:space:]' ' ' < "$ROOT/docs/protocol.md")
    "$CONFORM" --list | sed -n 's/^  "\(.*\)"$/\1/p' > rules
    [ "$(wc -l < rules)" -ge 50 ]
    while read -r rule; do
        [[ $text == *"$rule"* ]] || { echo "not in docs/protocol.md: $rule"; return 1; }
    done < rules
}

@test "a store that is no directory is looked into through --show" {
    local cases=(--case small-body --case atomic --case existing-key --case cancelled) all
    all="$EXAMPLE --at {at} dir:$T/elsewhere"
    run -0 "$CONFORM" "${cases[@]}" --show 'cat elsewhere/{key}' "$all"
    [[ $output != *SKIP* ]]
    run -0 "$CONFORM" "${cases[@]}" "$all"
    [[ $output == *"atomic: "*"SKIP"* ]]
}

@test "an uploader that breaks a rule is found out, whichever of them it is" {
    run "$ROOT/tests/conform/mutants"
    echo "status $status: $output"
    [ "$status" -eq 0 ]
}

@test "what is no uploader fails; a command that can't be run, or no case, is said" {
    run -1 "$CONFORM" --case small-body --timeout 1 'sleep 30'
    [[ $output == *"not ok 1 - small-body"* ]]
    run -2 "$CONFORM" --case small-body no/such/uploader
    [[ $output == *no/such/uploader* ]]
    run -2 "$CONFORM" --case no-such-case true
    [[ $output == *no-such-case* ]]
}

@test "a run with the example: 1,000 objects and a few large ones" {
    start_origin
    make_list 1000 1000 > urls
    seq -f "$BASE/-/bytes/3000000/%.0f" 5 >> urls
    seq -f "$BASE/-/bytes/0/%.0f" 3 >> urls
    start_example dir:out
    start_fetcher
    local fetcher=$FETCHER
    start_fetcher
    # Nothing before all three are there: who comes when all is over would wait for another run.
    start_feeder -v <(until_true 60 all_joined 3 3>&-; exec cat urls 3>&-)
    wait "$FEEDER"
    wait "$EXAMPLE_PID"
    wait "$FETCHER"
    wait "$fetcher"
    check_run urls manifest
    [ "$(uploaders)" = "$EXAMPLE_PID" ]
    [ -z "$(find . -type s)" ]
    # Once more: all is there.
    start_example dir:out
    start_fetcher
    start_feeder urls
    wait "$FEEDER"
    wait "$EXAMPLE_PID"
    check_run urls manifest
    [ "$(grep -c '"existing":true' manifest)" -eq 1008 ]
}

@test "the example killed in mid-run, and started again: nothing is lost" {
    start_origin
    endless_list 20000 '?wait=10'
    start_fetcher -j 20
    start_feeder --lease 1 list
    for _ in 1 2 3; do
        start_example dir:out
        until_true 30 has_worked "$EXAMPLE_PID" 300
        kill -9 "$EXAMPLE_PID"
    done
    start_example dir:out
    until_true 30 has_worked "$EXAMPLE_PID" 300
    touch enough
    wait "$FEEDER"
    wait "$EXAMPLE_PID"
    wait "$FETCHER"
    check_run urls manifest
    [ "$(uploaders | wc -l)" -eq 4 ]
}

@test "the feeder killed in mid-run: the example goes on with the next one of its run" {
    start_origin
    # One that takes long, so that the run is not over before the feeder is killed.
    { make_list 1 1000 '?wait=5000'; make_list 2000 1000 '?wait=10' | tail -n +2; } > urls
    start_fetcher -j 20
    start_example dir:out
    start_feeder --journal j urls
    until_true 20 lines_at_least 500 j/manifest.jsonl
    kill -9 "$FEEDER"
    wait "$FEEDER" || :
    start_feeder --journal j urls
    wait "$FEEDER"
    wait "$EXAMPLE_PID"
    check_run urls j/manifest.jsonl
    [ "$(requests)" -eq 2000 ]
}

# swap FIRST SECOND: `first` and `second` start an uploader each, and set NOW to its pid.
swap() {
    start_origin
    endless_list 20000 '?wait=10'
    start_fetcher -j 20
    $1
    local old=$NOW
    start_feeder list
    until_true 20 lines_at_least 300 manifest
    $2
    until_true 20 has_worked "$NOW"
    kill -TERM "$old"
    wait "$old"
    touch enough
    wait "$FEEDER"
    wait "$NOW"
    wait "$FETCHER"
    check_run urls manifest
    [ "$(uploaders | wc -l)" -eq 2 ]
    local all
    all=$(wc -l < urls)
    tail -n 1 feeder.log | grep -q "$all fed = $all delivered + 0 failed + 0 open"
    run -1 grep -q '"tries":[^1]' manifest
}

ours() { start_uploader dir:out; NOW=$UPLOADER; }
example() { start_example dir:out; NOW=$EXAMPLE_PID; }

@test "swapped in mid-run, ours for the example" { swap ours example; }

@test "swapped in mid-run, the example for ours" { swap example ours; }

@test "swapped in mid-run for one with another DEST: refused, and with --join taken" {
    start_origin
    endless_list 1000 '?wait=10'
    start_fetcher -j 20
    start_uploader dir:out
    start_feeder list
    until_true 20 lines_at_least 300 manifest
    run -2 "$EXAMPLE" --at "$AT" dir:other
    [[ $output == *"this run stores into dir:out, not dir:other"* ]]
    start_example --join dir:other
    until_true 20 has_worked "$EXAMPLE_PID"
    kill -TERM "$UPLOADER"
    wait "$UPLOADER"
    touch enough
    wait "$FEEDER"
    wait "$EXAMPLE_PID"
    diff <(sort urls) <(jq -r 'select(.status == "delivered") | .url' manifest | sort)
    [ "$(find out other -type f | wc -l)" -eq "$(wc -l < urls)" ]
}

@test "README: a run with the example, as written" {
    mkdir -p scripts/examples bin
    cp "$EXAMPLE" scripts/examples/
    local program
    for program in feeder fetcher; do ln -s "$(realpath "$BIN")/$program" bin/; done
    printf '#!/bin/sh\nexec %s --allow-net loopback "$@"\n' "$(realpath "$BIN")/fetcher" \
        > bin/allowed
    chmod +x bin/allowed
    mv bin/allowed bin/fetcher
    start_origin
    make_list 500 1000 > urls.txt
    local lines=('export SLUICE_AT=ipc://$PWD/at'
        'fetcher & scripts/examples/uploader.py dir:out & feeder urls.txt > manifest.jsonl') line
    for line in "${lines[@]}"; do
        grep -qxF "    $line" "$ROOT/README.md"
    done
    PATH=$T/bin:$PATH bash -c "${lines[0]}; ${lines[1]}; wait" 2> log < /dev/null 3>&-
    check_run urls.txt manifest.jsonl
}
