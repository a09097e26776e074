#!/usr/bin/env bats
bats_require_minimum_version 1.5.0
load helpers
load journal

# make_small OPTIONS: a file system of its own for the journal, in a mount namespace that a process
# holds; SMALL is how we see it.
make_small() {
    mkdir small
    unshare -m --propagation private bash -c '
        mount -t tmpfs -o "$1" sluice-e2e "$2/small" && echo > "$2/mounted" && read -r _' \
        - "$1" "$T" 2> mount.log 3>&- < <(exec sleep 600 3>&-) &
    HOLDER=$!
    PIDS+=("$HOLDER")
    until_true 20 eval '[ -e mounted ] || ended "$HOLDER"'
    [ -e mounted ] || skip "may not mount"
    SMALL=/proc/$HOLDER/root$T/small
}

# The same as start_feeder, with the journal on the small file system.
start_small_feeder() {
    nsenter -m -t "$HOLDER" "$BIN/feeder" --at "$AT" --lease 1 --journal "$T/small/j" "$@" \
        > feeder.out 2>> feeder.log 3>&- < /dev/null &
    FEEDER=$!
    PIDS+=("$FEEDER")
}

# fill KB: leaves only so many of it free.
fill() { fallocate -l $(($(stat -f -c '%a * %S / 1024' "$SMALL") - $1))k "$SMALL/ballast"; }

said() { grep -q "$1" feeder.log; }
times_said() { grep -c "$1" feeder.log || :; }

# No more is fetched while nothing can be written.
standing() {
    local was
    was=$(requests)
    read -rt 1 <> <(:) || :
    [ "$(requests)" -eq "$was" ]
}

@test "the journal's disk is full for a while: the run stands, says so once, and goes on" {
    make_small size=8m
    fill 300
    start_origin
    make_list 2500 1000 '?wait=5' > urls
    start_uploader dir:out
    start_fetcher -j 20
    start_small_feeder --window 400 "$T/urls"
    until_true 30 said 'waiting for room'
    until_true 30 standing
    [ "$(requests)" -lt 2000 ]
    [ "$(times_said 'waiting for room')" -eq 1 ]
    rm "$SMALL/ballast"
    ends 60 0
    check_run urls "$SMALL/j/manifest.jsonl"
    [ "$(times_said 'waiting for room')" -eq 1 ]
    [ "$(times_said 'the manifest is written again')" -eq 1 ]
    tail -n 1 feeder.log | grep -q '2500 fed = 2500 delivered + 0 failed + 0 open'
    [ "$(requests)" -eq 2500 ]
}

@test "killed while the disk was full: refused in words, and with room each line once" {
    make_small size=8m
    fill 300
    start_origin
    { make_list 1500 1000; make_list 100 10 '?status=404'; } > urls
    start_uploader --stay dir:out
    start_fetcher --stay -j 20
    start_small_feeder --window 400 "$T/urls"
    until_true 30 said 'waiting for room'
    kill_feeder
    head -c 8M /dev/zero > "$SMALL/more" 2>/dev/null || :
    : > feeder.log
    start_small_feeder "$T/urls"
    ends 20 5
    grep -q 'No space left on device: make room, and run this again' feeder.log
    rm "$SMALL/ballast" "$SMALL/more"
    start_small_feeder "$T/urls"
    ends 60 1
    check_run urls "$SMALL/j/manifest.jsonl"
    diff <(grep status=404 urls | sort) <(sort "$SMALL/j/failed")
}

@test "two INTs while the disk is full: at once, and with room the same command finishes" {
    make_small size=8m
    fill 300
    start_origin
    make_list 1500 1000 > urls
    start_uploader --stay dir:out
    start_fetcher --stay -j 20
    start_small_feeder --window 400 "$T/urls"
    until_true 30 said 'waiting for room'
    kill -INT "$FEEDER"
    until_true 20 said 'again: now'
    kill -INT "$FEEDER"
    ends 20 5
    rm "$SMALL/ballast"
    start_small_feeder "$T/urls"
    ends 60 0
    check_run urls "$SMALL/j/manifest.jsonl"
}

@test "no room for a checkpoint only: the run goes on, and ends well" {
    make_small size=8m,nr_inodes=12
    start_origin
    # The run is not over before no checkpoint could be written.
    { make_list 500 1000 '?wait=40'; seq -f "$BASE/-/bytes/1000/%.0f?wait=40&until=enough" 501 1500; } > urls
    start_uploader dir:out
    start_fetcher -j 20
    start_small_feeder --window 300 "$T/urls"
    until_true 10 test -s "$SMALL/j/manifest.jsonl"
    until_true 10 no_inodes
    until_true 10 said 'the checkpoint can.t be written: No space left on device'
    touch enough
    ends 30 0
    [ "$(times_said 'the checkpoint can.t be written')" -eq 1 ]
    check_run urls "$SMALL/j/manifest.jsonl"
    rm "$SMALL"/ballast.*
    start_small_feeder "$T/urls"
    ends 10 0
    tail -n 1 feeder.log | grep -q '1500 fed = 1500 delivered + 0 failed + 0 open'
    [ "$(requests)" -eq 1500 ]
}

# Takes what inodes are left; those of a checkpoint that is being replaced come back.
no_inodes() {
    local i=0
    while [ $i -lt 20 ] && : 2>/dev/null > "$SMALL/ballast.$i"; do i=$((i + 1)); done 2>/dev/null
    [ ! -e "$SMALL/j/checkpoint.tmp" ] && ! : > "$SMALL/ballast.more"
}

@test "a disk that fails: status 5, in words, and a restart without that finishes" {
    [[ $BIN != *san* ]] || skip "a preloaded library and the address sanitizer do not mix"
    start_origin
    # Six writes are of fewer than 600 lines, whatever the window holds is written at once; a second
    # checkpoint comes when some more lines have, and the run is not over before it.
    {
        make_list 600 1000 '?wait=20'
        make_list 100 1001 '?wait=20&until=go-fsync:4'
        make_list 100 1002 '?wait=20&until=go-fdatasync:4'
        make_list 100 1003 '?wait=20&until=go-on'
    } > urls
    start_uploader --stay dir:out
    start_fetcher --stay -j 20
    local call before=0
    export FAIL_IN=$T/j FAIL_ERRNO=5
    for call in write:6 fsync:4 fdatasync:4; do
        touch "go-$call"
        : > feeder.log
        FAIL_CALL=${call%:*} FAIL_AFTER=${call#*:} LD_PRELOAD=$BIN/../shim/failing_disk.so \
            start_feeder --window 100 urls
        ends 60 5
        grep -q 'j.*: Input/output error' feeder.log
        [ "$(lines j/manifest.jsonl)" -ge $before ]
        before=$(lines j/manifest.jsonl)
    done
    touch go-on
    start_feeder urls
    ends 60 0
    check_run urls j/manifest.jsonl
}

@test "killed before a write, an fsync, a rename: every line once" {
    [[ $BIN != *san* ]] || skip "a preloaded library and the address sanitizer do not mix"
    start_origin
    { make_list 600 1000 '?wait=10'; make_list 60 10 '?status=404'; } | sort > urls
    start_uploader --stay dir:out
    start_fetcher --stay -j 20
    # The writes before the fifth, and the eighth, are of fewer lines than there are, however many (60)
    # go at once; a run that ends has had two checkpoints.
    local call
    export FAIL_IN=$T/j FAIL_ERRNO=0
    for call in write:1 write:5 write:8 fsync:1 fsync:2 fsync:3 fdatasync:1 fdatasync:2 fdatasync:4; do
        FAIL_CALL=${call%:*} FAIL_AFTER=${call#*:} LD_PRELOAD=$BIN/../shim/failing_disk.so \
            start_feeder --window 60 urls
        ends 60 137
    done
    start_feeder urls
    ends 60 1
    check_run urls j/manifest.jsonl
    diff <(grep status=404 urls | sort) <(sort j/failed)
}
