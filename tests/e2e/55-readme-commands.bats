#!/usr/bin/env bats
bats_require_minimum_version 1.5.0
load helpers

README=$BATS_TEST_DIRNAME/../../README.md

# The installed programs, as a PATH: wrappers, for the origin is on loopback.
surround() {
    local real program
    real=$(realpath "$BIN")
    mkdir private bin real
    for program in feeder fetcher uploader; do ln -s "$real/$program" "real/$program"; done
    cp "$BATS_TEST_DIRNAME/../../scripts/sluice" real/
    printf '#!/bin/sh\nexec %s "$@"\n' "$T/real/feeder" > bin/feeder
    printf '#!/bin/sh\nexec %s "$@"\n' "$T/real/uploader" > bin/uploader
    printf '#!/bin/sh\nexec %s --allow-net loopback "$@"\n' "$T/real/fetcher" > bin/fetcher
    printf '#!/bin/sh\nexec %s --allow-net loopback "$@"\n' "$T/real/sluice" > bin/sluice
    chmod +x bin/*
    export XDG_RUNTIME_DIR=$T/private PATH=$T/bin:$PATH
    unset SLUICE_AT SLUICE_BIN
    start_origin
}

# as_written LINE: runs it, if README.md has it.
as_written() {
    grep -qxF "    $1" "$README" || { echo "README.md no longer says: $1" >&2; return 1; }
    bash -c "$1" 2> log < /dev/null 3>&-
}

all_ended() { [ -z "$(pgrep -f "$T/real/")" ]; }

# All ends by itself, and leaves nothing but what was asked for.
nothing_left() {
    until_true 30 all_ended
    [ -z "$(find . -type s)" ]
    [ -z "$(find private -mindepth 1 ! -path private/sluice)" ]
}

both_have_worked() { [ "$(grep -o '"fetcher":"[^"]*"' manifest.jsonl | sort -u | wc -l)" -ge 2 ]; }

# list_for_two LIST BYTES: urls.txt gives LIST, and then more until two fetchers have worked, so that
# a late one does not miss the run: one that has some in hand gets no more before the other one does.
# All that was given is in `given`.
list_for_two() {
    rm -f urls.txt
    mkfifo urls.txt
    (
        cat "$1"
        for ((i = 1; i < 600; i++)); do
            ! both_have_worked || break
            make_list 20 "$2" "?wait=1000&n=$i"
            read -rt 0.2 <> <(:) || :
        done
    ) 3>&- > >(exec tee given > urls.txt 3>&-) &
    PIDS+=($!)
}

@test "README: sluice -f 4 urls.txt dir:out > manifest.jsonl" {
    surround
    make_list 2000 1000 > urls.txt
    as_written 'sluice -f 4 urls.txt dir:out > manifest.jsonl'
    check_run urls.txt manifest.jsonl
    tail -n 1 log | grep -q '2000 fed = 2000 delivered + 0 failed + 0 open'
    nothing_left
}

@test "README: fetcher & fetcher & uploader dir:out & feeder urls.txt > manifest.jsonl" {
    surround
    make_list 2000 1000 '?wait=5' > urls
    list_for_two urls 1001
    local line='fetcher & fetcher & uploader dir:out & feeder urls.txt > manifest.jsonl'
    as_written "$line"
    check_run given manifest.jsonl
    [ "$(jq -r .fetcher manifest.jsonl | sort -u | wc -l)" -eq 2 ]
    nothing_left
    # The feeder's status is the line's.
    { cat given; echo "$BASE/-/bytes/1/a?status=404"; } > urls
    local before
    before=$(wc -l < given)
    list_for_two urls 1002
    run -1 as_written "$line"
    [ "$(grep -c '"existing":true' manifest.jsonl)" -eq "$before" ]
    [ "$(jq -r 'select(.status == "failed") | .class' manifest.jsonl)" = http ]
    nothing_left
}

@test "README: fetcher & uploader dir:out & zcat urls.gz | feeder > manifest.jsonl" {
    surround
    make_list 2000 1000 > urls
    gzip -k urls
    as_written 'fetcher & uploader dir:out & zcat urls.gz | feeder > manifest.jsonl'
    check_run urls manifest.jsonl
    nothing_left
}

@test "README: the same line in two directories at once: two runs that do not meet" {
    surround
    mkdir one two
    make_list 1000 1000 '?wait=5' > one/urls
    make_list 1000 1001 '?wait=5' > two/urls
    local line='fetcher & fetcher & uploader dir:out & feeder urls.txt > manifest.jsonl' dir runs=()
    for dir in one two; do
        cd "$T/$dir"
        list_for_two urls 1002
        as_written "$line" 3>&- &
        runs+=($!)
        PIDS+=($!)
    done
    wait "${runs[0]}"
    wait "${runs[1]}"
    for dir in one two; do
        cd "$T/$dir"
        check_run given manifest.jsonl
    done
    cd "$T"
    nothing_left
}

@test "README: a journal, and what failed once more" {
    surround
    make_list 2000 1000 > urls.txt
    echo "$BASE/-/bytes/1/a?status=404" >> urls.txt
    run -1 as_written 'sluice -f 4 --journal run urls.txt dir:out'
    nothing_left
    check_run urls.txt run/manifest.jsonl
    as_written 'sluice -f 4 --journal run urls.txt dir:out' # finished already
    [ "$(wc -l < run/manifest.jsonl)" -eq 2001 ]
    run -1 as_written 'sluice --journal again --retry-failed run dir:out'
    [ "$(jq -r .class again/manifest.jsonl)" = http ]
    rm -r again
    as_written 'sluice --journal again --retry-failed run --class timeout,connect dir:out'
    [ ! -s again/manifest.jsonl ]
    run -1 as_written 'sluice run/failed dir:out > again.jsonl'
    [ "$(jq -r .url again.jsonl)" = "$(cat run/failed)" ]
    nothing_left
}
