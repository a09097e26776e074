#!/usr/bin/env bats
# `make soak` sets LONG and LARGE higher and SLACK_KB to 0. Peaks of a short run on a busy machine
# differ by some MB; 100 bytes kept per URL would be 18 MB.
bats_require_minimum_version 1.5.0
load helpers

# Whether the origin has been asked for nothing since the last call.
no_requests() {
    local before=${REQUESTS:-}
    read -rt 0.5 <> <(:) || :
    REQUESTS=$(requests)
    [ "$before" = "$REQUESTS" ]
}

# For a while nobody stores, and `held` ends: every queue fills up to its bound.
fill_queues() {
    kill -STOP "$UPLOADER"
    : > held
    REQUESTS=
    until_true 60 no_requests
    kill -CONT "$UPLOADER"
}

# run_to_end LIST DEST [FETCHER OPTION...]: PEAKS are the peak RSS in kB of feeder, two fetchers
# and uploader, with all queues full once: most of the list comes after `held`, which has no lines
# and ends when all have joined, so that the run is not over before.
run_to_end() {
    local list=$1 dest=$2 pid rss names=(feeder fetcher fetcher uploader) pids=() peaks=(0 0 0 0) i
    shift 2
    head -n 3000 "$list" > begin
    tail -n +3001 "$list" > rest
    rm -f held
    mkfifo held
    start_uploader "$dest"
    start_fetcher "$@"
    pids=("$FETCHER")
    start_fetcher "$@"
    "$BIN/feeder" -v --at "$AT" begin held rest > manifest 2> feeder.log 3>&- & FEEDER=$!
    pids=("$FEEDER" "${pids[@]}" "$FETCHER" "$UPLOADER")
    PIDS+=("$FEEDER")
    until_true 60 lines_at_least 3000 manifest
    until_true 30 all_joined 3
    fill_queues
    while kill -0 "$FEEDER" 2>/dev/null; do
        for i in "${!pids[@]}"; do
            rss=$(awk '/VmHWM/ {print $2}' "/proc/${pids[i]}/status" 2>/dev/null) || rss=
            [ -z "$rss" ] || peaks[i]=$rss
        done
        read -rt 0.05 <> <(:) || :
    done
    wait "${pids[@]}"
    printf '# %s:' "$(basename "$list")" >&3
    for i in "${!pids[@]}"; do printf ' %s %d kB' "${names[i]}" "${peaks[i]}" >&3; done
    echo >&3
    PEAKS=("${peaks[@]}")
}

@test "ten times the URLs, the same memory in every process" {
    [[ $BIN != *san* ]] || skip "the address sanitizer keeps what was freed"
    start_origin
    local many=${LONG:-200000} i few_peaks
    make_list $((many / 10)) 1024 > few
    make_list "$many" 1024 > many
    run_to_end few null:
    few_peaks=("${PEAKS[@]}")
    run_to_end many null:
    grep -q "$many delivered" feeder.log
    for i in 0 1 2 3; do
        [ $((PEAKS[i] * 100)) -le $((few_peaks[i] * 110 + ${SLACK_KB:-6000} * 100)) ]
    done
}

@test "a large body among small ones: no process above 200 MB, all bytes right" {
    start_origin
    local large=${LARGE:-300000000} key i
    { make_list 5000 4096; echo "$BASE/-/bytes/$large/large"; make_list 10000 4096 | tail -n 5000; } > list
    run_to_end list dir:out --chunk-size 256k
    [ "$(jq -s 'map(select(.status == "delivered")) | length' manifest)" -eq 10001 ]
    for i in 0 1 2 3; do [ "${PEAKS[i]}" -lt "${RSS_MOST_KB:-204800}" ]; done
    key=$(jq -r "select(.size_download == $large) | .key" manifest)
    "$BIN/origin" --print "/-/bytes/$large/large" | cmp - "out/$key"
}

# feeder_alone LINES: the feeder's peak RSS in kB, with a fetcher that fails every task at once.
feeder_alone() {
    start_uploader null:
    "$BIN/../bench/null_fetcher" -q --at "$AT" 3>&- & PIDS+=($!)
    seq -f 'http://127.0.0.1:9/a/path/of/some/length/%.0f' "$1" | {
        "$BIN/feeder" -q --at "$AT" > manifest 2> feeder.log 3>&- & local feeder=$! peak rss
        while kill -0 $feeder 2>/dev/null; do
            rss=$(awk '/VmHWM/ {print $2}' /proc/$feeder/status 2>/dev/null) || rss=
            peak=${rss:-$peak}
            read -rt 0.05 <> <(:) || :
        done
        echo "$peak"
    }
    grep -q "^feeder: $1 fed = 0 delivered + $1 failed + 0 open" feeder.log
}

@test "ten times the lines, the same memory in the feeder" {
    [[ $BIN != *san* ]] || skip "the address sanitizer keeps what was freed"
    local many=${LINES_LONG:-1000000} few_kb many_kb began=$EPOCHREALTIME
    few_kb=$(feeder_alone $((many / 10)))
    many_kb=$(feeder_alone "$many")
    [ "$(wc -l < manifest)" -eq "$many" ]
    echo "# few: $few_kb kB, $many lines: $many_kb kB, both in" \
        "$(((${EPOCHREALTIME/./} - ${began/./}) / 1000)) ms" >&3
    [ $((many_kb * 100)) -le $((few_kb * 110)) ]
}
