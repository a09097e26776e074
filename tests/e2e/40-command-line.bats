#!/usr/bin/env bats
bats_require_minimum_version 1.5.0
load helpers

@test "bad options are named, with status 2" {
    run -2 "$BIN/fetcher" --no-such-option
    [[ $output == *--no-such-option* ]]
    run -2 "$BIN/fetcher" --paral 3
    [[ $output == *"no such option"* ]]
    run -2 "$BIN/fetcher" -j many
    [[ $output == *"whole number"* ]]
    run -2 "$BIN/fetcher" --chunk-size 1k
    [[ $output == *"out of range"* ]]
    run -2 "$BIN/uploader" nowhere:x
    run -2 "$BIN/uploader"
    run -2 "$BIN/feeder" --rate 5
    run -2 "$BIN/feeder" --retry-failed x --class timeout,htpp
    [[ $output == *"'htpp' is none of input,http,"*",transfer"* ]]
    # Each class that a line may fail with is known: it gets as far as the list.
    run -5 "$BIN/feeder" --at "$AT" --retry-failed nothing --class paused,lost,redirect,transfer
    run -2 "$BIN/fetcher" --at tcp://0.0.0.0:5555
    [[ $output == *--insecure* ]]
}

@test "a list or a store that can't be used: status 5, in words" {
    run -5 "$BIN/feeder" --at "$AT" no-such-file
    [[ $output == *no-such-file* ]]
    run -5 "$BIN/uploader" --at "$AT" dir:/proc/nothing
    if [ "$(id -u)" -eq 0 ] && unshare -m true 2>/dev/null; then
        mkdir fixed
        # shellcheck disable=SC2016 # for the shell in there
        run -5 unshare -m sh -c 'mount -t tmpfs -o ro none fixed && exec "$@"' - \
            "$BIN/uploader" --at "$AT" dir:fixed
        [[ $output == *"dir:fixed: Read-only file system"* ]]
    fi
    printf 'http://127.0.0.1:1/\nnothing\n' > urls
    run -5 bash -c "'$BIN/feeder' --at $AT urls > /dev/full"
    [[ $output == *"No space left"* ]]
}

@test "a second feeder on the same address is refused" {
    "$BIN/feeder" --at "$AT" --ready-fd 4 <(exec sleep 60 3>&-) > /dev/null 4> ready 3>&- & PIDS+=($!)
    until_true 20 test -s ready
    run -5 "$BIN/feeder" --at "$AT" /dev/null
    [[ $output == *"another feeder"* ]]
}

@test "an empty list ends at once, with status 0" {
    run -0 "$BIN/feeder" --at "$AT" /dev/null
    [[ $output == *"0 fed = 0 delivered"* ]]
}

@test "a worker without a feeder leaves after --wait with status 4" {
    run -4 "$BIN/fetcher" --at "$AT" --wait 0.3
    [[ $output == *"--wait"* ]]
}

@test "a manual page for each program, with each option that --help has" {
    local program page option
    for program in "$BIN/feeder" "$BIN/fetcher" "$BIN/uploader" "$BATS_TEST_DIRNAME/../../scripts/sluice"; do
        page=$("$BATS_TEST_DIRNAME/../../scripts/man" "$program")
        [[ $page == *".SH NAME"*".SH SYNOPSIS"*".SH \"EXIT STATUS\""* ]]
        for option in $("$program" --help | grep -oE '^ +(-., )?--[a-z-]+' | grep -oE -- '--[a-z-]+'); do
            [[ $page == *"\\fB${option//-/\\-}\\fR"* ]] || { echo "$program: $option"; false; }
        done
    done
}
