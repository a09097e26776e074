#!/usr/bin/env bats
# Each word of --pace, as the origin and the manifest see it.
bats_require_minimum_version 1.5.0
load helpers

# start_workers [DEST [SLOTS]]: an uploader and two fetchers, with room for many; the origin is on
# from before.
start_workers() {
    start_uploader "${1:-dir:out}"
    start_fetcher -j "${2:-500}"; FIRST=$FETCHER
    start_fetcher -j "${2:-500}"
}

# As start_workers, and all have started.
start_ready_workers() {
    start_workers
    until_true 30 sockets_at_least 4
}

# feed RULE [OPTION...]: a whole run of ./urls, with all ends in order.
feed() {
    run -0 bash -c "'$BIN/feeder' --at '$AT' --pace ${*@Q} urls 2>&1 > manifest"
}

requests_at_least() { [ "$(requests)" -ge "$1" ]; }
all_in_flight() { grep -q " $1 in flight" feeder.log; }

@test "bad words are refused in words, with status 2" {
    run -2 "$BIN/feeder" --pace bach:3
    [[ $output == *"--pace: 'bach:3' is none of unbounded, sleep:PAUSE, batch:N"* ]]
    run -2 "$BIN/feeder" --pace batch
    [[ $output == *"'batch' needs a number, such as batch:100"* ]]
    run -2 "$BIN/feeder" --pace semaphore:0
    [[ $output == *"'semaphore:0' is out of range (1 to 1000000)"* ]]
    run -2 "$BIN/feeder" --pace sleep:soon
    [[ $output == *"no duration after the colon (such as 100ms, 2s or 0.5)"* ]]
    run -2 "$BIN/feeder" --pace queue:9
    [[ $output == *"takes nothing after its name"* ]]
}

@test "semaphore:7: never more than seven at the origin, and seven where there are seven" {
    start_origin
    # The first seven are at the origin long enough to be there together.
    make_list 300 1000 '?wait=20' | sed '1,7s/wait=20/wait=1000/' > urls
    start_workers
    feed semaphore:7
    [ "$(stat_of peak_active)" -eq 7 ]
    [[ $output == *"--pace semaphore:7: at most 7 in flight"* ]]
    check_run urls manifest
}

@test "pool:7: four slots for one fetcher and three for the other, none for who comes later" {
    start_origin
    endless_list 1000 "?wait=20&$PAD"
    start_ready_workers # slots are dealt half a second after the first fetcher has come
    "$BIN/feeder" -v --at "$AT" --window 50 --pace pool:7 list > manifest 2> feeder.log 3>&- &
    local feeder=$!
    PIDS+=($feeder)
    until_true 30 lines_at_least 50 manifest
    start_fetcher -j 500
    until_true 30 grep -q "$FETCHER has no slot" feeder.log
    touch enough
    wait $feeder
    [ "$(stat_of peak_active)" -eq 7 ]
    [ "$(jq -r .fetcher manifest | sort -u | wc -l)" -eq 2 ]
    grep -q 'pool: 4 slots for fetcher' feeder.log
    grep -q 'pool: 3 slots for fetcher' feeder.log
    grep -q "fetcher .*:$FETCHER has no slot: all 7 are taken" feeder.log
    check_run urls manifest
}

@test "pool:6: the slots of a killed fetcher go to the one that takes its place" {
    start_origin
    endless_list 1000 "?wait=20&$PAD"
    start_workers
    "$BIN/feeder" --at "$AT" --lease 1 --window 50 --pace pool:6 list > manifest 2> feeder.log 3>&- &
    local feeder=$!
    PIDS+=($feeder)
    until_true 30 lines_at_least 50 manifest
    kill -9 "$FIRST" "$FETCHER" # all
    start_fetcher
    until_true 60 has_worked "$FETCHER" 300
    touch enough
    wait $feeder
    [ "$(jq -r .fetcher manifest | grep -c ":$FETCHER\$")" -ge 300 ]
    check_run urls manifest
}

@test "batch:10 waits for its slowest: five slow ones in five batches take five times as long" {
    start_origin
    # The first of each ten takes a second.
    make_list 50 1000 | awk 'NR % 10 == 1 { $0 = $0 "?wait=1000" } { print }' > urls
    start_workers
    local began=${EPOCHREALTIME/./}
    feed batch:10
    [ $(((${EPOCHREALTIME/./} - began) / 1000)) -ge 5000 ]
    [ "$(stat_of peak_active)" -le 10 ]
    [[ $output == *"at most 10 in flight"* ]]
    check_run urls manifest
    # Its lines are together in the manifest, each batch's slow one last.
    [ "$(jq -r .id manifest | awk '{ print int(($1 - 1) / 10) }' | uniq | wc -l)" -eq 5 ]
    [ "$(jq -r .id manifest | awk 'NR % 10 == 0 && $1 % 10 == 1' | wc -l)" -eq 5 ]
    # All the slow ones at once: what a queue makes of it.
    rm -r out
    start_workers
    began=${EPOCHREALTIME/./}
    feed queue
    [ $(((${EPOCHREALTIME/./} - began) / 1000)) -lt 4800 ]
}

@test "a batch's retries belong to it, and a failure for good ends its part" {
    start_origin
    make_list 20 1000 | awk 'NR == 2 { $0 = $0 "?status=503&times=1" }
                             NR == 3 { $0 = $0 "?status=404" } { print }' > urls
    start_workers
    run -1 bash -c "'$BIN/feeder' --at '$AT' --pace batch:5 --retry-delay 0.5 urls > manifest"
    [ "$(jq -r .id manifest | awk '{ printf "%d\n", ($1 - 1) / 5 }' | uniq | xargs)" = "0 1 2 3" ]
    [ "$(jq -r 'select(.id == 2) | "\(.status) \(.tries)"' manifest)" = "delivered 2" ]
    [ "$(jq -r 'select(.id == 3) | .status' manifest)" = failed ]
}

@test "sleep:20ms: so long between two, and never two at once where each takes less" {
    start_origin
    make_list 50 1000 > urls
    start_workers
    local began=${EPOCHREALTIME/./}
    feed sleep:20ms
    [ $(((${EPOCHREALTIME/./} - began) / 1000)) -ge 950 ] # 49 pauses
    check_run urls manifest
    # It limits the rate, not what is in flight: slow answers pile up.
    make_list 50 1000 '?wait=3000' > urls
    start_workers
    feed sleep:5ms
    [ "$(stat_of peak_active)" -ge 40 ]
}

@test "unbounded: nothing before the list has ended, then all of it at once, and a warning" {
    start_origin
    make_list 20000 100 '?wait=20000' > all
    mkfifo list
    start_workers null:
    "$BIN/feeder" --at "$AT" --window 10 --stats 0.2 --pace unbounded < list > manifest \
        2> feeder.log 3>&- &
    local feeder=$!
    PIDS+=($feeder)
    exec 9> list
    head -n 15000 all >&9
    grep -q 'unbounded: the whole list is read into memory' feeder.log
    read -rt 1 <> <(:) || : # longer than it waits for other fetchers
    [ "$(requests)" -eq 0 ]
    tail -n +15001 all >&9
    exec 9>&-
    # Far beyond --window, and what the fetchers have room for.
    until_true 18 all_in_flight 20000
    kill -INT $feeder # all is in flight, so all of it is waited for; once more: now
    until_true 20 grep -q 'finishing' feeder.log
    kill -INT $feeder
    local status=0
    wait $feeder || status=$?
    [ $status -eq 3 ]
    grep -q 'at most 20000 in flight' feeder.log
    [ "$(jq -r .id manifest | sort -un | wc -l)" -eq 20000 ]
}

@test "unbounded: fetchers that hold a long list say so: nothing is lost within many leases" {
    start_origin
    make_list 30000 100 > urls
    sed -i '1,1000s/$/?wait=600/' urls # six seconds, and no fetcher is held up for a whole lease
    start_uploader null:
    start_fetcher -j 50; start_fetcher -j 50
    run -0 bash -c "'$BIN/feeder' -v --at '$AT' --lease 1 --pace unbounded urls 2>&1 > manifest"
    [[ $output != *"handing it out again"* ]]
    [ "$(requests)" -eq 30000 ]
}

end_at_once() {
    kill -9 "$1"
    wait "$1" 2>/dev/null || :
}

# journalled RULE: the feeder, a fetcher and the uploader are killed in mid-run, and it goes on.
journalled() {
    local status=0 round
    start_origin
    # The last line takes long, so that the run is not over before the last kill.
    make_list 3000 1000 '?wait=40' | sed '$s/wait=40/wait=3000/' > urls
    start_workers dir:out 50
    for round in 1 2; do
        "$BIN/feeder" --at "$AT" --lease 1 --journal j --pace "$1" urls 2>> feeder.log 3>&- &
        local feeder=$!
        PIDS+=($feeder)
        until_true 20 lines_at_least $((round * 300)) j/manifest.jsonl
        [ "$round" -eq 2 ] || end_at_once $feeder
    done
    kill -9 "$FETCHER" "$UPLOADER"
    start_fetcher
    start_uploader dir:out
    wait $feeder || status=$?
    [ $status -eq 0 ]
    check_run urls j/manifest.jsonl
}

@test "unbounded, killed and gone on with: every line once" { journalled unbounded; }
@test "sleep, killed and gone on with: every line once" { journalled sleep:2ms; }
@test "batch, killed and gone on with: every line once" { journalled batch:40; }
@test "semaphore, killed and gone on with: every line once" { journalled semaphore:40; }
@test "pool, killed and gone on with: every line once" { journalled pool:40; }

@test "a run may go on with another word, and a smaller window" {
    start_origin
    make_list 5000 100 '?wait=50' > urls
    start_workers dir:out 50 # so that it takes seconds
    "$BIN/feeder" --at "$AT" --lease 1 --journal j --pace unbounded urls 2> feeder.log 3>&- &
    local feeder=$!
    PIDS+=($feeder)
    until_true 10 lines_at_least 100 j/manifest.jsonl
    end_at_once $feeder
    run -0 "$BIN/feeder" --at "$AT" --lease 1 --journal j --window 100 --pace batch:300 urls
    check_run urls j/manifest.jsonl
}
