#!/usr/bin/env bats
# A process killed, stopped or failed at every fault point of the sources (lib/fault.h), one run
# each: every line once, every object whole, nothing left behind. tests/e2e/fault-case is one run.
bats_require_minimum_version 1.5.0
load helpers

BATS_TEST_TIMEOUT=1200  # many runs in one test, of which each has its own deadline
FAULT_BIN=${FAULT_BIN:-$BATS_TEST_DIRNAME/../../build-faults/bin}
WIDTH=8     # runs at a time; most of one is waiting
LATER=25    # the later time that a point is met, or half of the times it is passed

# Points that no run here comes to, each with the reason: PROGRAM POINT.
UNREACHED=()

# points MACRO [DIR...]: each point set by MACRO (an expression), as often as it stands in the sources.
points() {
    local macro=$1
    cd "$BATS_TEST_DIRNAME/../.." || return 1
    [ $# -gt 1 ] || set -- "$1" lib feeder fetcher uploader
    shift
    find "$@" -name '*.c' -exec sed -nE "s/.*\\<$macro\\(.*\"([a-z.]+)\".*/\\1/p" {} +
}

# of PROGRAM: those of the points on stdin that PROGRAM passes, and that a run comes to.
of() {
    local point
    while read -r point; do
        [[ " ${UNREACHED[*]} " != *" $1 $point "* ]] || continue
        case $point in
        "$1".*) echo "$point" ;;
        worker.*) [ "$1" = feeder ] || echo "$point" ;;
        esac
    done
}

# cases PROGRAM ACTION N...: one a line, for the points on stdin.
cases() {
    local point n
    of "$1" | while read -r point; do
        for n in "${@:3}"; do echo "$1 $point $n $2"; done
    done
}

# Runs the cases on stdin, WIDTH at a time. Not to be called in a pipe: teardown must know of the
# origin.
run_cases() {
    BIN=$FAULT_BIN
    start_origin
    export BIN BASE TMPDIR=$T
    mkdir said
    sort -u > cases
    [ -s cases ]
    # shellcheck disable=SC2016
    xargs -P "$WIDTH" -L 1 bash -c '
        timeout -k 5 400 "$0" "$@" > "said/$*" 2>&1 || echo "$* (status $?)" >> failed' \
        "$BATS_TEST_DIRNAME/fault-case" < cases 3>&-
    echo "# $(wc -l < cases) runs" >&3
    [ ! -e failed ] || { cat failed said/*; return 1; }
}

# With a journal a feeder's death is a pause; without one it is the run's end.
need_journal() {
    "$FAULT_BIN/feeder" --help | grep -q -e --journal || skip "the feeder keeps no journal yet"
}

@test "fault points are in the test build alone, each name once, after its program" {
    local program
    (points 'FAULT\w*') > all
    [ "$(wc -l < all)" -ge 25 ]
    [ "$(sort all | uniq -d)" = "" ]
    for program in feeder fetcher uploader; do
        [ "$(points 'FAULT\w*' $program | grep -cv "^$program\.")" -eq 0 ]
        [ "$(nm "$FAULT_BIN/$program" | grep -c fault_pass)" -gt 0 ]
        [ "$(nm "$BIN/$program" | grep -ci fault_)" -eq 0 ]
        [ "$(strings "$FAULT_BIN/$program" | grep -cxFf all)" -gt 0 ]
        [ "$(strings "$BIN/$program" | grep -cFf all)" -eq 0 ]
    done
    [ "$(points 'FAULT\w*' lib | grep -cv '^worker\.')" -eq 0 ]
    # Each on one line with its name: what the other tests find is all there is.
    cd "$BATS_TEST_DIRNAME/../.."
    [ "$(grep -hE '\<FAULT(_IF|_FAILS)?\(' lib/*.c feeder/*.c fetcher/*.c uploader/*.c | wc -l)" -eq \
        "$(wc -l < "$T/all")" ]
}

@test "SLUICE_FAULT: what is no fault ends a program with status 2, what it says otherwise happens" {
    local bad BIN=$FAULT_BIN
    for bad in nonsense a:b :1:kill a:0:kill a:-1:kill a:1: a:1:explode a:1:delay= a:1:delay=x \
        a:1:fail=ENOSUCH a:1:fail=0 a:1:kill, ,a:1:kill a:99999999999999999999:kill; do
        SLUICE_FAULT=$bad run -2 "$BIN/fetcher" --help
        [[ $output == *"SLUICE_FAULT: '"*"' is not NAME:N:ACTION"* ]]
    done
    SLUICE_FAULT=a:1:fail=EIO,a:2:fail=5,b:1:delay=10 run -0 "$BIN/fetcher" --help
    [[ $output == *"fault: a:2:fail=5 did not come: passed 0 times"* ]]
    # The first beat is sent to nobody, so it is not sent.
    SLUICE_FAULT=worker.beat.send:2:delay=1,worker.beat.send:2:kill run -137 \
        "$BIN/uploader" --at "$AT" null:
    [[ $output == *"fault: worker.beat.send:2:delay=1"*"fault: worker.beat.send:2:kill"* ]]
    SLUICE_FAULT=uploader.tmpfile:1:fail=28 run -4 "$BIN/uploader" --at "$AT" --wait 0.1 dir:out
    [[ $output == *"fault: uploader.tmpfile:1:fail=28"* ]]
}

@test "a fetcher killed at any point: nothing lost, nothing twice" {
    run_cases < <(points 'FAULT\w*' | cases fetcher kill 1 $LATER)
}

@test "an uploader killed at any point: nothing lost, nothing twice" {
    run_cases < <(points 'FAULT\w*' | cases uploader kill 1 $LATER)
}

@test "a worker stopped at any point until it was taken as gone: nothing lost, nothing twice" {
    run_cases < <(points 'FAULT\w*' | cases fetcher stop 1
        points 'FAULT\w*' | cases uploader stop 1)
}

@test "any call that fails once in a worker: nothing lost, nothing twice" {
    run_cases < <(points FAULT_FAILS | cases fetcher fail=EIO 1 $LATER
        points FAULT_FAILS | cases uploader fail=ENOSPC 1 $LATER)
}


# An uploader with OPTIONS stands still where it has made its first temporary name; FAULT is the place.
# Another one, which clears away what the dead have left, starts in the middle of that, and has joined
# before it ends. What is fetched then is in hand of the first: its lease is long.
start_another_while() {
    local fault=$1 first
    shift
    rm -f uploader.log
    SLUICE_FAULT=$fault start_uploader "$@" dir:out
    first=$UPLOADER
    start_fetcher
    "$BIN/feeder" -v --at "$AT" --retry 0 --lease 250 urls > manifest 2> feeder.log 3>&- &
    local feeder=$!
    PIDS+=("$feeder")
    until_true 60 grep -q "fault: .*:stop$" uploader.log
    until_true 60 stopped "$first"
    start_uploader "$@" dir:out
    until_true 60 all_joined 3
    kill -CONT "$first"
    wait "$feeder"
    check_run urls manifest
    has_worked "$first"
    until_true 60 ended "$first"
    until_true 60 ended "$UPLOADER"
}

@test "an uploader that starts takes no file from one at work" {
    local BIN=$FAULT_BIN
    start_origin
    make_list 20 1000 > urls
    start_another_while uploader.tmpfile:1:fail=EOPNOTSUPP,uploader.temp.made:1:stop
    start_another_while uploader.replace.linked:1:stop --overwrite
}

@test "a feeder killed at any point and started again: nothing lost, nothing twice" {
    need_journal
    run_cases < <(points 'FAULT\w*' | cases feeder kill 1 $LATER)
}

@test "any call that fails once in a feeder started again: nothing lost, nothing twice" {
    need_journal
    run_cases < <(points FAULT_FAILS | cases feeder fail=ENOSPC 1 $LATER)
}
