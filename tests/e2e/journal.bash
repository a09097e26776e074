# What the tests of the journal share.

# start_feeder ARGS...: with the journal j; what it says is added to feeder.log.
start_feeder() {
    "$BIN/feeder" --at "$AT" --lease 1 --journal j "$@" > feeder.out 2>> feeder.log 3>&- <&0 &
    FEEDER=$!
    PIDS+=("$FEEDER")
}

# The same, and waits until it listens.
start_ready_feeder() {
    : > ready
    start_feeder --ready-fd 4 "$@" 4> ready
    until_true 10 test -s ready
}

kill_feeder() {
    kill -9 "$FEEDER"
    wait "$FEEDER" 2>/dev/null || :
}


# ends SECONDS STATUS: the feeder ends soon, so.
ends() {
    local status=0
    until_true "$1" ended "$FEEDER"
    wait "$FEEDER" || status=$?
    [ $status -eq "$2" ] || { tail -n 5 feeder.log >&2; echo "status $status" >&2; return 1; }
}

# workers_end STATUS: the last fetcher and the last uploader started end by themselves, so.
workers_end() {
    local pid status
    for pid in "$FETCHER" "$UPLOADER"; do
        status=0
        until_true 20 ended "$pid"
        wait "$pid" || status=$?
        [ $status -eq "$1" ]
    done
}

# workers_listen COUNT: so many live.
workers_listen() { [ "$(find . -maxdepth 1 -name 'feeder-inbox-*' | wc -l)" -eq "$1" ]; }

requested() { [ "$(requests)" -ge "$1" ]; }
lines() { if [ -e "$1" ]; then wc -l < "$1"; else echo 0; fi; }

# The checkpoint is of a place beyond so many bytes of the first list.
checkpoint_beyond() {
    awk -v most="$1" '$1 == "place" && ($2 > 0 || $3 > most) { hit = 1 } END { exit !hit }' j/checkpoint 2>/dev/null
}

# Lists before number so-and-so (from 0) are read.
checkpoint_has_list() { grep -q "^place $1 " j/checkpoint; }

# A journal of a feeder that had no workers, and was killed in the middle of its lists.
no_workers_journal() {
    if [ ! -e urls ]; then
        { echo nothing; echo nothing; seq -f 'http://127.0.0.1:1/%.0f' 1000; } > urls
        sed 's,/7$,/8,' urls > urls-edited
        cp -p urls urls.kept
    fi
    [ $# -gt 0 ] || set -- urls
    start_feeder --window 50 "$@"
    until_true 10 checkpoint_beyond 1
    kill_feeder
    sha256sum j/* > before
}

# What is in the journal; but for the epoch, with JUDGED_LATE: a stream is judged as it comes, and by
# then the new epoch is written down.
journal_sums() {
    find j -type f ! -name 'checkpoint*' -exec sha256sum {} + | sort
    [ ! -e j/checkpoint ] || sed "${JUDGED_LATE:+/^epoch/d;/^end/d}" j/checkpoint
}

# refused WORDS ARGS...: the feeder will not, says why, and leaves the journal as it is.
refused() {
    local words=$1 before
    shift
    before=$(journal_sums)
    run -5 timeout 20 "$BIN/feeder" --at "$AT" --lease 1 --journal j "$@" 3>&-
    # shellcheck disable=SC2154 # of bats' run
    [[ $output == *"$words"* ]] || { echo "not in: $output" >&2; return 1; }
    diff <(echo "$before") <(journal_sums)
}

# A live feeder without workers has nothing new to write down.
checkpoint_is_quiet() {
    local was now
    was=$(sha256sum j/checkpoint)
    read -rt 1.2 <> <(:) || :
    now=$(sha256sum j/checkpoint)
    [ "$was" = "$now" ] && [ ! -e j/checkpoint.tmp ]
}
