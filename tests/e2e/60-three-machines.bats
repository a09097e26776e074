#!/usr/bin/env bats
bats_require_minimum_version 1.5.0
load helpers

# Machines are network namespaces, on a switch that is a bridge in one more. Needs root.
#   feeder, origin 10.77.0.1 · uploader .2 · fetchers .3 .4 .5
NET=sluice-$$
FEEDER_HOST=10.77.0.1

# machine NAME NUMBER
machine() {
    ip netns add "$NET-$1"
    ip -n "$NET-net" link add "$1" type veth peer name eth0 netns "$NET-$1"
    ip -n "$NET-net" link set "$1" master switch up
    ip -n "$NET-$1" address add "10.77.0.$2/24" dev eth0
    ip -n "$NET-$1" link set lo up
    ip -n "$NET-$1" link set eth0 up
}

# Runs a program on a machine; exec all the way, so that $! is the program's.
on() {
    local name=$1
    shift
    exec nsenter --net="/run/netns/$NET-$name" "$@"
}

# The machines, an origin beside the feeder, and a list's BASE.
build_network() {
    AT=tcp://$FEEDER_HOST:5555
    ip netns add "$NET-net"
    ip -n "$NET-net" link add switch type bridge
    ip -n "$NET-net" link set switch up
    machine feeder 1
    machine uploader 2
    machine f1 3
    machine f2 4
    machine f3 5
    on feeder "$BIN/origin" --bind $FEEDER_HOST > origin.port 3>&- &
    PIDS+=($!)
    until_true 5 test -s origin.port
    BASE=http://$FEEDER_HOST:$(cut -d' ' -f2 origin.port)
}

eval "shared_$(declare -f teardown)"
teardown() {
    shared_teardown
    local name
    for name in $(ip netns list | cut -d' ' -f1); do
        [[ $name != "$NET"-* ]] || ip netns delete "$name"
    done
}

feeder_there() {
    on feeder "$BIN/feeder" -v --at tcp://0.0.0.0:5555 --insecure "$@" \
        > manifest 2> feeder.log 3>&- &
    FEEDER=$!
    PIDS+=($FEEDER)
}

uploader_there() {
    on uploader "$BIN/uploader" --at "$AT" --insecure dir:out 2>> uploader.log 3>&- &
    UPLOADER=$!
    PIDS+=($UPLOADER)
}

# fetcher_on MACHINE [OPTIONS]
fetcher_on() {
    local name=$1
    shift
    on "$name" "$BIN/fetcher" -v --at "$AT" --insecure --allow-net private "$@" \
        2> "fetcher.$name.log" 3>&- &
    FETCHER=$!
    PIDS+=($FETCHER)
}


# ends SECONDS PID...: each ends by itself, with status 0.
ends() {
    local seconds=$1 pid
    shift
    for pid; do
        until_true "$seconds" ended "$pid"
        wait "$pid"
    done
}

joined() { [ "$(grep -c "$1 joined" feeder.log)" -ge "$2" ]; }
has_delivered() { grep -q "\"fetcher\":\"[^\"]*:$1\"" manifest; }

all_delivered() {
    check_run urls manifest
    [ "$(jq -r .status manifest | sort -u)" = delivered ]
    grep -q "$(wc -l < urls) fed = $(wc -l < urls) delivered + 0 failed + 0 open" feeder.log
}

@test "5,000 objects of 4 KiB over three machines: right, and no line handed out twice" {
    build_network
    make_list 5000 4096 > urls
    uploader_there
    fetcher_on f1; local f1=$FETCHER
    fetcher_on f2
    mkfifo list
    feeder_there list
    # Given out once all are there, so that each has its share.
    until_true 30 joined "fetcher [^ ]*:$f1" 1
    until_true 30 joined "fetcher [^ ]*:$FETCHER" 1
    until_true 30 joined "uploader [^ ]*:$UPLOADER" 1
    cat urls > list
    ends 90 $FEEDER $f1 $FETCHER $UPLOADER
    all_delivered
    [ "$(jq -r .fetcher manifest | sort -u | wc -l)" -eq 2 ]
    [[ $(cat feeder.log) != *"handing it out again"* ]]
    [[ $(cat feeder.log) != *"taken as gone"* ]]
}

@test "over the network: a fetcher joins in mid-run, another leaves by TERM, no line twice" {
    build_network
    endless_list 1000 '?wait=20'
    uploader_there
    fetcher_on f1 -j 20; local f1=$FETCHER
    fetcher_on f2 -j 20; local f2=$FETCHER
    feeder_there --window 1000 list
    until_true 40 lines_at_least 800 manifest
    until_true 40 has_delivered $f1
    until_true 40 has_delivered $f2
    fetcher_on f3 -j 20
    until_true 40 has_delivered $FETCHER
    kill -TERM $f1
    ends 30 $f1
    touch enough
    ends 90 $FEEDER $f2 $FETCHER $UPLOADER
    all_delivered
    [ "$(jq -r '.fetcher // empty' manifest | sort -u | wc -l)" -eq 3 ]
    [[ $(cat feeder.log) != *"handing it out again"* ]]
    [ "$(jq -s 'map(select(.tries != 1 or .existing)) | length' manifest)" -eq 0 ]
}

@test "off loopback without --insecure: refused in words, with status 2" {
    run -2 "$BIN/feeder" --at tcp://0.0.0.0:5555 /dev/null
    [[ $output == *"--at: 'tcp://0.0.0.0:5555'"*--insecure* ]]
    run -2 "$BIN/feeder" --at 'tcp://*:5555' /dev/null
    [[ $output == *--insecure* ]]
    run -2 "$BIN/fetcher" --at tcp://10.77.0.1:5555
    [[ $output == *"--at: 'tcp://10.77.0.1:5555'"*--insecure* ]]
    run -2 "$BIN/fetcher" --at "$AT" --inbox tcp://10.77.0.3:6000
    [[ $output == *"--inbox: 'tcp://10.77.0.3:6000'"*--insecure* ]]
    run -2 "$BIN/fetcher" --at tcp://127.0.0.1:5555 --inbox 'tcp://[::]:6000'
    [[ $output == *"--inbox: "*--insecure* ]]
    run -2 "$BIN/uploader" --at "$AT" --intake 'tcp://*:*' dir:out
    [[ $output == *"--intake: 'tcp://*:*'"*--insecure* ]]
    run -2 "$BIN/uploader" --at "$AT" --intake tcp://10.77.0.2:7000 dir:out
    [[ $output == *"--intake: 'tcp://10.77.0.2:7000'"*--insecure* ]]
}

gone() { [ "$(grep -c "$1 .*taken as gone" feeder.log)" -ge "$2" ]; }
# cut_off MACHINE PID ROLE: longer than the lease, by its own interface and then by the switch.
cut_off() {
    local round=1 where seen
    for where in "$NET-$1 eth0" "$NET-net $1"; do
        ip -n ${where% *} link set ${where#* } down
        until_true 40 gone "$3 [^ ]*:$2" $round
        seen=$(wc -l < manifest)
        [ "$3" = uploader ] || until_true 40 lines_at_least $((seen + 300)) manifest
        ip -n ${where% *} link set ${where#* } up
        until_true 40 joined "$3 [^ ]*:$2" $((round + 1))
        seen=$(wc -l < manifest)
        until_true 40 lines_at_least $((seen + 300)) manifest
        round=$((round + 1))
    done
}

@test "a fetcher's network goes for longer than the lease, twice: nothing lost, every line once" {
    build_network
    endless_list 1000 '?wait=20'
    uploader_there
    fetcher_on f1 -j 10; local f1=$FETCHER
    fetcher_on f2 -j 10
    feeder_there --lease 1 --window 1000 list
    until_true 40 lines_at_least 500 manifest
    until_true 40 has_delivered $FETCHER # so it is there
    cut_off f2 $FETCHER fetcher
    touch enough
    ends 90 $FEEDER $f1 $FETCHER $UPLOADER
    all_delivered
}

@test "the uploader's network goes for longer than the lease, twice: nothing lost, every line once" {
    build_network
    endless_list 1000 '?wait=20'
    uploader_there
    fetcher_on f1 -j 10; local f1=$FETCHER
    fetcher_on f2 -j 10
    feeder_there --lease 1 --window 1000 list
    until_true 40 lines_at_least 500 manifest
    cut_off uploader $UPLOADER uploader
    touch enough
    ends 90 $FEEDER $f1 $FETCHER $UPLOADER
    all_delivered
}
