#!/usr/bin/env bats
bats_require_minimum_version 1.5.0
load helpers

@test "fetchers and uploaders killed in mid-run: every line once, nothing lost, status 0" {
    start_origin
    endless_list 2000
    start_uploader dir:out
    start_fetcher; local keep=$FETCHER
    start_fetcher
    "$BIN/feeder" --at "$AT" --lease 1 list > manifest 2> feeder.log 3>&- & local feeder=$!
    PIDS+=($feeder)
    for round in 1 2 3; do
        until_true 30 lines_at_least $((round * 3000)) manifest
        kill -9 $FETCHER
        start_fetcher
        until_true 30 lines_at_least $((round * 3000 + 1500)) manifest
        kill -9 $UPLOADER
        start_uploader dir:out
    done
    until_true 30 has_worked "$keep" # or it may not have come yet
    touch enough
    wait $feeder
    wait $keep
    check_run urls manifest
}

# Starts the feeder with `lease` 1; what it says gets the time in front.
start_timed_feeder() {
    mkfifo said
    (while read -r line; do echo "${EPOCHREALTIME/./} $line"; done < said > feeder.log) 3>&- &
    READER=$!
    PIDS+=("$READER")
    "$BIN/feeder" -v --at "$AT" --lease 1 "$@" > manifest 2> said 3>&- &
    FEEDER=$!
    PIDS+=("$FEEDER")
}

# Milliseconds from $1 (EPOCHREALTIME) to the last line handed out again.
last_again_ms() {
    awk -v at="${1/./}" '/handing it out again/ { last = $1 } END { print int((last - at) / 1000) }' feeder.log
}

@test "what a killed worker held is handed out again within lease + 2 beats" {
    start_origin
    local victim killed sent ms
    for victim in fetcher uploader; do
        rm -rf out said list urls enough
        endless_list 1000 '?wait=200'
        start_uploader --stay dir:out
        start_uploader --stay dir:out
        start_fetcher -j 100
        start_fetcher -j 100
        start_timed_feeder --window 1000 list
        until_true 30 lines_at_least 1000 manifest
        # Stopped first: an uploader writes at once, and must hold something when it is killed.
        local pid=$FETCHER
        [ $victim = fetcher ] || pid=$UPLOADER
        until_true 30 has_worked "$pid"
        killed=$EPOCHREALTIME
        sent=$(stat_of bytes_sent)
        kill -STOP "$pid"
        until_true 20 sent_at_least $((sent + 200 * 1000))
        kill -9 "$pid"
        touch enough
        wait "$FEEDER"
        wait "$READER"
        check_run urls manifest
        ms=$(last_again_ms "$killed")
        echo "# $(grep -c 'out again' feeder.log) lines of the killed $victim handed out again, the last after $ms ms" >&3
        [ "$ms" -gt 0 ]
        [ "$ms" -le $((1200 + ${SLACK_MS:-1000})) ] # and what a busy machine adds
        kill -9 "${PIDS[@]:1}" 2>/dev/null || :
    done
}

# ms_for LINES: how long the manifest takes to grow by so many.
ms_for() {
    local began=$EPOCHREALTIME want=$(($(wc -l < manifest) + $1))
    until_true 30 lines_at_least $want manifest
    echo $(((${EPOCHREALTIME/./} - ${began/./}) / 1000))
}

@test "one of four fetchers stopped: the others keep their share; on SIGCONT no line twice" {
    start_origin
    # Far fewer a second than a machine can do that has much else to do: the origin sets the pace.
    make_list 2500 1000 '?wait=80' > urls
    start_uploader dir:out
    start_fetcher -j 5; start_fetcher -j 5; start_fetcher -j 5; start_fetcher -j 5
    "$BIN/feeder" --at "$AT" --lease 1 urls > manifest 2> feeder.log 3>&- & local feeder=$!
    PIDS+=($feeder)
    until_true 30 lines_at_least 200 manifest
    until_true 30 has_worked "$FETCHER"
    local all rest
    all=$((500 * 1000 / $(ms_for 500)))
    kill -STOP $FETCHER
    rest=$((500 * 1000 / $(ms_for 500)))
    kill -CONT $FETCHER
    echo "# four: $all/s, three: $rest/s" >&3
    [ $((rest * 100)) -ge $((all * 3 / 4 * 70)) ]
    wait $feeder
    check_run urls manifest
}

@test "TERM: a fetcher and an uploader leave in mid-run with status 0, others join" {
    start_origin
    endless_list 1000
    start_uploader dir:out; local up=$UPLOADER
    start_fetcher; local f=$FETCHER
    "$BIN/feeder" --at "$AT" list > manifest 2> feeder.log 3>&- & local feeder=$!
    PIDS+=($feeder)
    until_true 30 lines_at_least 2000 manifest
    start_fetcher
    start_uploader dir:out
    kill $f
    kill $up
    wait $f
    wait $up
    touch enough
    wait $feeder
    check_run urls manifest
}

@test "INT: the feeder drains, writes what is open, exits 3" {
    start_origin
    make_list 20000 1000 '?wait=20' > urls
    start_uploader dir:out
    start_fetcher -j 50
    "$BIN/feeder" --at "$AT" urls > manifest 2> feeder.log 3>&- & local feeder=$!
    PIDS+=($feeder)
    until_true 30 lines_at_least 1000 manifest
    kill -INT $feeder
    local status=0
    wait $feeder || status=$?
    [ $status -eq 3 ]
    [ "$(jq -r .url manifest | sort | uniq -d | wc -l)" -eq 0 ]
    grep -q '"status":"open"' manifest
    tail -n 1 feeder.log | grep -Eq '[0-9]+ fed = [0-9]+ delivered'
}
