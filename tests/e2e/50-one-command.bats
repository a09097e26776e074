#!/usr/bin/env bats
bats_require_minimum_version 1.5.0
load helpers

SLUICE=$BATS_TEST_DIRNAME/../../scripts/sluice

# The programs behind a wrapper that notes its arguments; and a directory for the private ones.
surround() {
    mkdir run bin
    export XDG_RUNTIME_DIR=$T/run SLUICE_BIN=$T/bin
    local program
    for program in feeder fetcher uploader; do
        printf '#!/bin/sh\n[ "$1" = --list-options ] || echo "$*" >> %s\nexec %s "$@"\n' \
            "$T/args.$program" "$(realpath "$BIN")/$program" > bin/$program
        chmod +x bin/$program
    done
    start_origin
}

sluice() { "$SLUICE" --allow-net loopback "$@" 3>&-; }

# As from a terminal: a session of its own, with a SIGINT that `&` has not made ignored.
start_sluice() {
    setsid env --default-signal=INT "$SLUICE" --allow-net loopback "$@" \
        > manifest 2> log < /dev/null 3>&- &
    PID=$!
    PIDS+=($PID)
}


# ends SECONDS STATUS: the command ends soon, so, and nothing of it stays.
ends() {
    local status=0
    until_true "$1" ended $PID
    wait $PID || status=$?
    [ $status -eq "$2" ]
    nothing_left
}

# parts NAME: pids of the running programs of this name.
parts() { pgrep -f "/$1 --at ipc://$T/run"; }

nothing_left() {
    [ -z "$(pgrep -af "ipc://$T/run")" ]
    [ -z "$(find run -mindepth 1)" ]
    [ -z "$(find . -type s)" ]
    [ ! -d out ] || [ -z "$(find out -name '.sluice-*')" ]
}

# Stopped early: what was read and not settled is said, and each line once.
check_stopped() {
    grep -q '"status":"open"' manifest
    [ "$(jq -r .url manifest | sort | uniq -d | wc -l)" -eq 0 ]
    grep -Eq "$(wc -l < manifest) fed = [0-9]+ delivered \+ 0 failed \+ [1-9][0-9]* open" log
}

@test "sluice -f 4 LIST dir:out: all in the store, status 0, nothing left behind" {
    surround
    endless_list 1000 '?wait=20'
    : > manifest
    four() { [ "$(grep -o '"fetcher":"[^"]*"' manifest | sort -u | wc -l)" -eq 4 ]; }
    (until_true 60 four || :; touch enough) 3>&- & # one of them may come late
    PIDS+=($!)
    run -0 sluice -f 4 -j 20 --window 500 list dir:out --manifest manifest
    local count
    count=$(wc -l < urls)
    [[ $output == *"$count fed = $count delivered + 0 failed + 0 open"* ]]
    [[ $output != *"starting it again"* ]]
    check_run urls manifest
    [ "$(jq -r .fetcher manifest | sort -u | wc -l)" -eq 4 ]
    nothing_left
}

@test "two lists in a row, the manifest on stdout and nothing else there" {
    surround
    make_list 30 1000 > one
    make_list 30 1001 > two
    sluice -u 2 one two dir:out > manifest
    check_run <(cat one two) manifest
    nothing_left
}

@test "a list from a pipe: zcat | sluice - dir:out" {
    surround
    make_list 500 1000 > urls
    gzip -k urls
    zcat urls.gz | sluice - dir:out > manifest
    check_run urls manifest
    nothing_left
}

@test "status 1 when something failed for good" {
    surround
    printf '%s\n' "$BASE/-/bytes/10/a" "$BASE/-/bytes/10/b?status=404" > urls
    run -1 sluice --manifest manifest urls dir:out
    [ "$(jq -r .status manifest | sort | xargs)" = "delivered failed" ]
    nothing_left
}

@test "options go to the programs that have them, and to no other" {
    surround
    make_list 100 10 '?wait=5' > urls
    sluice -f 1 -j 3 --retry 0 --retry-delay=0.5 --fsync --hwm 7 -H 'X-One: a=b' \
        --header='X-Two: c d' --feeder:window 20 --uploader:parallel=1 -q urls dir:out > manifest
    check_run urls manifest
    local at='--at ipc://'$T/run/'*'
    # shellcheck disable=SC2053 # a pattern
    [[ $(cat args.feeder) == $at' --ready-fd 5 --retry 0 --retry-delay=0.5 --window 20 -q urls' ]]
    # shellcheck disable=SC2053
    [[ $(cat args.fetcher) == $at' --allow-net loopback -j 3 --hwm 7 -H X-One: a=b --header=X-Two: c d -q' ]]
    # shellcheck disable=SC2053
    [[ $(cat args.uploader) == $at' --fsync --hwm 7 --parallel=1 -q dir:out' ]]
    [ "$(stat_of peak_active)" -le 3 ]
}

@test "what it does not understand is named, with status 2, and nothing is started" {
    surround
    make_list 1 10 > urls
    local words
    for words in --no-such-option --no-such=1 -Z --feeder:compressed --uploader:retry -- --- \
        '--at x' '--feeder:at x' --inbox=x '--uploader:intake x' --stay '-f 0' '-f many' '-u' \
        --retry --manifest; do
        echo "now: $words"
        # shellcheck disable=SC2086 # two words
        run -2 sluice urls dir:out $words
        [[ $output == *"${words%% *}"* ]]
        [[ $output == "sluice: "* ]]
        [ ${#lines[@]} -eq 1 ]
    done
    run -2 sluice urls
    run -2 sluice
    run -0 sluice --help
    [[ $output == "usage: sluice "* ]]
    run -0 sluice --version
    [[ $output == "sluice "* ]]
    [ ! -e args.fetcher ]
    [ ! -e args.uploader ]
    nothing_left
}

@test "an option that a program refuses ends it, with that program's words and status 2" {
    surround
    make_list 10 10 > urls
    local words
    for words in '--retry many' '--fetcher:allow-net nowhere' '--uploader:parallel 0'; do
        # shellcheck disable=SC2086
        start_sluice $words urls dir:out
        ends 30 2
        grep -Eq "${words##* }" log
    done
}

@test "workers killed in mid-run are started again, in words; nothing is lost" {
    surround
    endless_list 1000 '?wait=20'
    start_sluice -f 2 -j 30 --lease 1 list dir:out
    local old
    until_true 20 lines_at_least 300 manifest
    old=$(parts fetcher | head -n 1)
    kill -9 "$old"
    until_true 20 grep -Eq 'fetcher\.[12] ended with status 137; starting it again' log
    until_true 20 lines_at_least 1500 manifest
    kill -9 "$(parts uploader)"
    until_true 20 grep -q 'uploader\.1 ended with status 137; starting it again' log
    touch enough
    ends 120 0
    check_run urls manifest
    [ "$(grep -c 'starting it again' log)" -eq 2 ]
    [ "$(wc -l < args.fetcher)" -eq 3 ]
    [ "$(wc -l < args.uploader)" -eq 2 ]
}

@test "a DEST that can't be used ends it soon, in words, with status 5" {
    surround
    make_list 1000 10 > urls
    start_sluice -u 2 urls dir:/proc/nothing
    ends 30 5
    grep -q 'dir:/proc/nothing: ' log
    grep -q 'no uploader is left' log
    [ "$(wc -l < args.uploader)" -eq 2 ]
    start_sluice urls nowhere:x
    ends 30 2
    grep -q "nowhere:x" log
}

@test "a list or a manifest that can't be used: status 5, in words" {
    surround
    make_list 10 10 > urls
    start_sluice no-such-list dir:out
    ends 30 5
    grep -q no-such-list log
    start_sluice --manifest no/such/file urls dir:out
    ends 30 5
    grep -q no/such/file log
    [ "$(wc -l < args.feeder)" -eq 1 ]
}

@test "Ctrl-C: drains once, says what is open, status 3" {
    surround
    make_list 20000 1000 '?wait=20' > urls
    start_sluice -j 20 urls dir:out
    until_true 20 lines_at_least 300 manifest
    kill -INT -- -$PID
    ends 30 3
    check_stopped
    grep -q 'stopping after line' log
    [[ $(cat log) != *"starting it again"* ]]
}

@test "TERM and HUP to the command alone do the same" {
    surround
    make_list 20000 1000 '?wait=20' > urls
    local signal
    for signal in TERM HUP; do
        start_sluice -j 20 urls dir:out
        until_true 20 lines_at_least 300 manifest
        kill -$signal $PID
        ends 30 3
        check_stopped
        rm -r out
    done
}

@test "a second Ctrl-C ends it now" {
    surround
    make_list 100 1000 '?stall=500' > urls
    start_sluice urls dir:out
    until_true 20 test -s args.feeder
    stalled() { [ "$(stat_of active)" -ge 100 ]; }
    until_true 20 stalled
    kill -INT -- -$PID
    until_true 20 grep -q 'stopping after line' log
    kill -0 $PID
    kill -INT -- -$PID
    ends 30 3
    check_stopped
}

@test "a signal that comes while it starts is not lost" {
    surround
    make_list 20000 1000 '?wait=20' > urls
    local i
    for i in 1 2 3; do
        start_sluice -f 20 -j 5 urls dir:out
        until [ -n "$(ls run)" ]; do kill -0 $PID; done
        kill -TERM $PID
        ends 30 3
    done
}

@test "a FIFO without a writer as the list: TERM ends it, status 3" {
    surround
    mkfifo fifo
    start_sluice -f 1 fifo dir:out
    until_true 20 test -s args.feeder
    kill -TERM $PID
    ends 30 3
    grep -q '0 fed = 0 delivered + 0 failed + 0 open' log
}

# A feeder that is never ready, as in a long replay; it hears TERM, or does not.
unready_feeder() {
    printf '#!/bin/sh\n[ "$1" = --list-options ] && exec %s "$@"\n%s\necho > %s\nexec tail -f %s\n' \
        "$(realpath "$BIN")/feeder" "$1" "$T/started" "$T/urls" > bin/feeder
}

@test "a feeder that is not ready: the first signal waits for it, the second ends all" {
    surround
    make_list 10 10 > urls
    local hears
    for hears in : "trap '' TERM"; do
        rm -f started
        unready_feeder "$hears"
        start_sluice -f 1 urls dir:out
        until_true 20 test -e started
        kill -TERM $PID
        run ! until_true 1 ended $PID
        kill -TERM $PID
        ends 30 3
        grep -q 'stopped before the feeder had handed anything out' log
        [ -z "$(pgrep -f "tail -f $T/urls")" ]
    done
}

@test "the feeder killed: it ends, not with 0, and takes the workers along" {
    surround
    make_list 20000 1000 '?wait=20' > urls
    start_sluice -j 20 urls dir:out
    until_true 20 lines_at_least 300 manifest
    kill -9 "$(parts feeder)"
    ends 30 137
    grep -q 'the feeder was killed' log
}

# slow_uploader BYTES: its disk writes so many a second.
slow_uploader() {
    [[ $BIN != *san* ]] || skip "a preloaded library and the address sanitizer do not mix"
    printf '#!/bin/sh\n[ "$1" = --list-options ] ||\n    export SLOW_STORE=%s LD_PRELOAD=%s\nexec %s "$@"\n' \
        "$1" "$(realpath "$BIN/../shim/slow_store.so")" "$(realpath "$BIN")/uploader" > bin/uploader
}

# It has said its ledger, and ended.
feeder_is_gone() { grep -Eq '([0-9]+) fed = \1 delivered' log && [ -z "$(parts feeder)" ]; }

@test "an uploader that has its shard to finish on a slow disk is waited for, in words" {
    surround
    slow_uploader 110 # longer than sluice is silent, by some seconds
    make_list 1 10 > urls
    start_sluice urls tar:out
    ends 120 0
    [ "$(find out -type f)" = out/shard-000000.tar ]
    grep -q 'waiting for an uploader to finish' log
}

@test "two signals end that uploader at once: said, and the status is not 0" {
    surround
    slow_uploader 100
    make_list 1 10 > urls
    start_sluice urls tar:out
    until_true 60 feeder_is_gone
    kill -STOP "$(parts uploader)" # or it could still finish, before it is killed
    kill -TERM $PID
    until_true 20 grep -q 'waiting for an uploader to finish' log
    kill -TERM $PID
    ends 20 137
    grep -q 'uploader.1 ended with status 137 after the last line' log
    [ -e out/shard-000000.tar.part ]
}

@test "an uploader that fails after the feeder's end: said, and its status is the command's" {
    surround
    cat > bin/uploader <<SH
#!/bin/sh
[ "\$1" = --list-options ] && exec $(realpath "$BIN")/uploader "\$@"
trap '' TERM
$(realpath "$BIN")/uploader "\$@" && cat wait
exit 5
SH
    mkfifo wait
    make_list 10 10 > urls
    start_sluice urls dir:out
    until_true 20 feeder_is_gone
    timeout 30 bash -c ': > wait'
    ends 30 5
    grep -q 'uploader.1 ended with status 5 after the last line' log
}

@test "a list from a terminal is refused in words; no stdin at all is fine" {
    surround
    make_list 5 10 > urls
    run -2 timeout -k 1 30 script -qec "'$SLUICE' - dir:out" /dev/null < /dev/null
    [[ $output == *"stdin is a terminal"* ]]
    sluice urls dir:out > manifest <&-
    check_run urls manifest
    nothing_left
}

@test "with --journal a killed feeder is started again, and nothing is fetched twice" {
    surround
    make_list 1500 1000 '?wait=60' > urls
    # (with a lease of 1 s a worker that was not run for so long would be taken as gone)
    start_sluice -j 10 --lease 3 --journal j urls dir:out
    until_true 30 lines_at_least 100 j/manifest.jsonl
    kill -9 "$(parts feeder)"
    ends 60 0
    grep -q 'the feeder was killed' log
    check_run urls j/manifest.jsonl
    [ "$(requests)" -eq 1500 ]
}

@test "--retry-failed is a LIST: what failed is fed again" {
    surround
    make_list 20 1000 > urls
    echo "$BASE/-/status/404" >> urls
    local status=0
    sluice --journal j urls dir:out || status=$?
    [ $status -eq 1 ]
    [ "$(cat j/failed)" = "$BASE/-/status/404" ]
    status=0
    sluice --retry-failed j dir:out > again || status=$?
    [ $status -eq 1 ]
    [ "$(jq -r .url again)" = "$BASE/-/status/404" ]
}
