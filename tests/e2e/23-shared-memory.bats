#!/usr/bin/env bats
bats_require_minimum_version 1.5.0
load helpers

# Bodies from small to more than a chunk of 256 KiB.
mixed_list() {
    local i
    for ((i = 0; i < $1; i++)); do
        echo "$BASE/-/bytes/$(((i * 7919) % 300000 + 1))/$i"
    done
}

# What comes after a first list, for as long as a test needs it (endless_list); slower, or a quick
# machine would fill the disk.
endless_mixed_list() { endless_list '(i * 7919) % 100000 + 1' '?wait=100'; }

maps_memory() { grep -q 'memfd:sluice' "/proc/$1/maps"; }

@test "on one machine an uploader reads the fetcher's memory" {
    start_origin
    mixed_list 300 > urls
    make_list 300 70000 '?wait=300' >> urls
    start_uploader dir:out
    start_fetcher -j 20
    "$BIN/feeder" --at "$AT" urls > manifest 2> feeder.log 3>&- & local feeder=$!
    PIDS+=($feeder)
    until_true 30 maps_memory "$UPLOADER"
    wait $feeder
    check_run urls manifest
}

@test "an uploader that was stopped past its lease stores nothing of what was overwritten meanwhile" {
    start_origin
    mixed_list 6000 > first
    endless_mixed_list
    start_uploader -j 1 dir:out; local stopped=$UPLOADER
    start_uploader dir:out
    start_fetcher -j 60
    "$BIN/feeder" --at "$AT" --lease 1 --window 1000 first list > manifest 2> feeder.log 3>&- &
    local feeder=$!
    PIDS+=($feeder)
    until_true 30 maps_memory "$stopped"
    local round
    for round in 1 2 3; do
        until_true 30 lines_at_least $((round * 1000)) manifest
        kill -STOP $stopped
        sleep 2 # longer than the lease
        kill -CONT $stopped
    done
    touch enough
    wait $feeder
    check_run <(cat first urls) manifest
}

@test "a killed fetcher's memory is read to its end" {
    start_origin
    mixed_list 3000 > first
    endless_mixed_list
    start_uploader dir:out
    start_fetcher -j 60
    start_fetcher -j 60
    "$BIN/feeder" --at "$AT" --lease 1 --window 1000 first list > manifest 2> feeder.log 3>&- &
    local feeder=$!
    PIDS+=($feeder)
    local round
    for round in 1 2; do
        until_true 30 lines_at_least $((round * 800)) manifest
        until_true 30 has_worked "$FETCHER"
        kill -9 "$FETCHER"
        start_fetcher -j 60
    done
    touch enough
    wait $feeder
    check_run <(cat first urls) manifest
}

@test "an uploader that can't reach that memory is sent the bodies" {
    start_origin
    mixed_list 500 > urls
    unshare --fork --pid --kill-child --mount-proc \
        "$BIN/uploader" --at "$AT" dir:out 2> uploader.log 3>&- & local up=$!
    PIDS+=($up)
    start_fetcher
    timeout 60 "$BIN/feeder" --at "$AT" urls > manifest 2> feeder.log
    check_run urls manifest
}

@test "small bodies and larger ones in turn: each is fetched once" {
    start_origin
    local i
    for i in {1..1000}; do echo "$BASE/-/bytes/1000/a$i"; echo "$BASE/-/bytes/20000/b$i"; done > urls
    start_uploader -j 1 dir:out
    start_fetcher
    timeout 60 "$BIN/feeder" --at "$AT" urls > manifest 2> feeder.log
    check_run urls manifest
    [ "$(requests)" -eq 2000 ]
}

@test "workers that stay through a pause longer than the lease share their memory again" {
    start_origin
    start_uploader --stay dir:out
    start_fetcher --stay
    local round
    for round in 1 2; do
        seq -f "$BASE/-/bytes/70000/$round-%.0f" 300 > urls
        # On a busy machine a worker that was not run for a second would be taken as gone.
        timeout 60 "$BIN/feeder" --at "$AT" --lease 3 urls > manifest 2> feeder.log
        check_run urls manifest
        sleep 4 # longer than the lease
    done
    [ "$(requests)" -eq 600 ]
}

@test "a fetcher that leaves takes nothing back that it has handed over" {
    start_origin
    make_list 60 70000 > urls
    start_uploader -j 1 'exec:sh -c "sleep 0.05; cat > /dev/null"'
    start_fetcher -j 10; local leaves=$FETCHER
    mkfifo list # its end comes after the fetcher's, however late that is
    "$BIN/feeder" --at "$AT" list > manifest 2> feeder.log 3>&- & local feeder=$!
    PIDS+=($feeder)
    exec 7> list
    cat urls >&7
    until_true 30 lines_at_least 5 manifest
    kill "$leaves"
    exec 7>&-
    start_fetcher
    wait $feeder
    [ "$(grep -c '"delivered"' manifest)" -eq 60 ]
    [ "$(requests)" -eq 60 ]
}

@test "an uploader without room stops only what has begun there" {
    start_origin
    make_list 200 3000000 '?rate=10000000' > urls
    start_uploader --min-free 90000G dir:out; local full=$UPLOADER
    start_fetcher -j 20
    mkfifo list
    "$BIN/feeder" --at "$AT" --lease 2 list > manifest 2> feeder.log 3>&- & local feeder=$!
    PIDS+=($feeder)
    exec 7> list
    # Half of the fetcher's slots: while it is the only one, they begin there, and more than what the
    # fetcher keeps for an uploader.
    head -n 10 urls >&7
    until_true 30 sent_at_least 16000000
    start_uploader dir:out 7>&-
    tail -n +11 urls >&7
    until_true 30 lines_at_least 150 manifest
    kill -9 "$full" # what has begun there is fetched again
    exec 7>&-
    wait $feeder
    check_run urls manifest
}
