#!/usr/bin/env bats
# tar:DIR: every object of the manifest at its place, read back by other programs (tests/tar/check).
bats_require_minimum_version 1.5.0
load helpers

# An uploader gives its last shard its name when it has heard that the run is over, as the feeder has.
all_have_names() { [ -z "$(find out -name '*.part*')" ]; }

# check_tar MANIFEST: SHARDS, SAMPLES and OBJECTS are how many there are.
check_tar() {
    local counts
    until_true 20 all_have_names
    counts=$("$BATS_TEST_DIRNAME/../tar/check" out "$1")
    read -r SHARDS SAMPLES OBJECTS <<< "$counts"
    [ "$(jq -r .url "$1" | sort | uniq -d | wc -l)" -eq 0 ]
}

# 500 of all kinds: empty, of several chunks, redirected, of unknown length, slow.
mixed_list() {
    local i query
    for ((i = 0; i < 500; i++)); do
        case $((i % 8)) in
        0) query='chunked=1' ;;
        1) query='hop=1' ;;
        2) query='nolength=1' ;;
        3) query='wait=50' ;;
        4) query='reset=100&times=1' ;;
        *) query='' ;;
        esac
        echo "$BASE/-/bytes/$((i % 50 == 0 ? 600000 : i * 397 % 20000))/$i.$((i % 3 ? 1 : 0))json?$query"
    done
}

run_feeder() { "$BIN/feeder" --at "$AT" --retry-delay 0.05 "$@" urls > manifest 2> ledger; }

@test "500 objects: samples side by side, each at its place, in shards of --shard-count" {
    start_origin
    start_uploader --shard-count 100 tar:out
    start_fetcher
    mixed_list > urls
    run_feeder
    check_tar manifest
    [ "$SHARDS $SAMPLES $OBJECTS" = '5 500 500' ]
    [ -e out/shard-000000.tar ] && [ -e out/shard-000004.tar ]
    wait "$UPLOADER"
}

@test "--shard-size: a shard ends before it grows beyond; a longer body has one of its own" {
    start_origin
    start_uploader --shard-size 1M tar:out
    start_fetcher
    { make_list 40 100000; make_list 1 3000000; } > urls
    run_feeder
    check_tar manifest
    [ "$OBJECTS" -eq 41 ]
    [ "$SHARDS" -ge 5 ] && [ "$SHARDS" -le 8 ]
    [ "$(find out -size +1100k | wc -l)" -eq 1 ]
}

@test "--compress zst and gz" {
    local kind
    start_origin
    mixed_list > urls
    for kind in zst gz; do
        rm -rf out
        start_uploader --compress $kind --shard-count 200 tar:out
        start_fetcher
        run_feeder
        check_tar manifest
        [ "$SHARDS $OBJECTS" = '3 500' ]
        [ -e out/shard-000002.tar.$kind ]
    done
    run -2 "$BIN/uploader" --at "$AT" --compress lzma tar:out
    [[ $output == *"'lzma' is neither zst nor gz"* ]]
}

@test "several uploaders in one directory: numbers do not collide, none is missing" {
    start_origin
    for _ in 1 2 3 4; do start_uploader --shard-count 20 tar:out; done
    start_fetcher
    mixed_list > urls
    run_feeder
    check_tar manifest
    [ "$SAMPLES" -eq 500 ]
    [ -e "$(printf 'out/shard-%06d.tar' $((SHARDS - 1)))" ]
}

@test "what is there is left alone; another run goes on after it" {
    start_origin
    mkdir out
    echo mine > out/shard-000001.tar
    start_uploader tar:out
    start_fetcher
    make_list 10 100 > urls
    run_feeder
    start_uploader tar:out
    start_fetcher
    run_feeder
    [ "$(cat out/shard-000001.tar)" = mine ]
    rm out/shard-000001.tar
    check_tar manifest
    [ "$SHARDS $SAMPLES $OBJECTS" = '2 20 10' ] # of finished shards nothing is known
    [ -e out/shard-000002.tar ]
}

@test "a key that comes again while its shard is open is said to be there" {
    start_origin
    start_uploader tar:out
    start_fetcher
    { make_list 10 100; make_list 10 100; } > urls
    run_feeder
    [ "$(jq -s 'map(select(.existing)) | length' manifest)" -eq 10 ]
    [ "$(jq -r '.place + .sha256' manifest | sort | uniq -c | awk '$1 == 2' | wc -l)" -eq 10 ]
    until_true 20 all_have_names
    "$BATS_TEST_DIRNAME/../tar/check" out manifest | grep -x '1 10 20'
}

# killer: kills the uploaders with -9 every PAUSE_S seconds and starts others, six times at most, while
# the feeder FEEDER lives: a line that is lost eight times has failed.
killer() {
    for _ in 1 2 3 4 5 6; do
        read -rt "${PAUSE_S:-1}" <> <(:) || :
        kill -0 "$FEEDER" || return 0
        KILLS=$((KILLS + 1))
        kill -9 "$UPLOADER" "$SECOND"
        start_uploader "$@" tar:out
        SECOND=$UPLOADER
        start_uploader "$@" tar:out
    done
}

killed_all_the_time() {
    start_origin
    mixed_list > urls
    sed -i 's/?/?wait=200\&/' urls
    start_uploader "$@" tar:out
    SECOND=$UPLOADER
    start_uploader "$@" tar:out
    start_fetcher -j 16
    "$BIN/feeder" --at "$AT" --lease 0.5 --retry-delay 0.05 urls > manifest 2> ledger 3>&- &
    FEEDER=$!
    PIDS+=("$FEEDER")
    KILLS=0
    killer "$@" 2>/dev/null
    [ $KILLS -ge 3 ]
    until_true 120 ended "$FEEDER"
    wait "$FEEDER" || { tail -n 3 ledger; grep -m 3 '"failed"' manifest; return 1; }
    until_true 30 none_lives
    "$BIN/uploader" --at "$AT" --wait 0.2 "$@" tar:out && false # finishes what is left
    check_tar manifest
    [ "$OBJECTS" -eq 500 ]
    echo "# $KILLS times two killed: $SHARDS shards, $SAMPLES samples of $OBJECTS objects" >&3
}

none_lives() { kill "$UPLOADER" "$SECOND" 2>/dev/null; ! pgrep -f "uploader --at $AT"; }

@test "uploaders killed each second: each object whole at its place" {
    killed_all_the_time --shard-count 50
}

# A lost object is given again half a second later, takes 0.2 s to come and half a second to gather:
# with a kill each second the same ones could be lost each time, which is failure.
@test "the same, packed" {
    PAUSE_S=1.6 killed_all_the_time --shard-count 50 --compress zst
}

@test "what a killed uploader has left is gone on with, after its last whole sample" {
    start_origin
    start_uploader tar:out
    start_fetcher --stay
    make_list 100 1000 > urls
    "$BIN/feeder" --at "$AT" <(cat urls; exec sleep 20 3>&-) > first 2> ledger 3>&- &
    FEEDER=$!
    PIDS+=("$FEEDER")
    until_true 15 lines_at_least 100 first
    kill -9 "$UPLOADER"
    kill -9 "$FEEDER"
    wait "$UPLOADER" || : # or the shard is still its
    wait "$FEEDER" || : # or the address is
    head -c 700 /dev/urandom >> out/shard-000000.tar.part # torn
    start_uploader tar:out
    { cat urls; make_list 1 5; } > more && mv more urls
    run_feeder
    check_tar manifest
    [ "$SHARDS $SAMPLES $OBJECTS" = '1 101 101' ]
    "$BATS_TEST_DIRNAME/../tar/check" out first | grep -x '1 101 100'
    [ "$(jq -s 'map(select(.existing)) | length' manifest)" -eq 100 ]
}

@test "a backup by hard links of a shard that is open takes nothing from it" {
    start_origin
    start_uploader --stay tar:out
    start_fetcher
    make_list 10 1000 > urls
    run_feeder
    kill -9 "$UPLOADER"
    wait "$UPLOADER" || : # or the shard is still its
    cp -al out backup
    "$BIN/uploader" --at "$AT-2" --wait 0.1 tar:out 2> said && false
    check_tar manifest
    [ "$SHARDS $SAMPLES $OBJECTS" = '1 10 10' ]
}

@test "a full disk is waited for, and costs no try" {
    [ "$(id -u)" -eq 0 ] && unshare -m true 2>/dev/null || skip "may not mount"
    start_origin
    mkdir out
    unshare -m sh -c 'mount -t tmpfs -o size=1m none out && echo > ready && exec sleep 100' 3>&- &
    HOLDER=$!
    PIDS+=("$HOLDER")
    until_true 30 test -s ready
    in_disk "$BIN/uploader" --at "$AT" --min-free 0 --shard-count 20 tar:out 2>> uploader.log 3>&- &
    PIDS+=($!)
    start_fetcher -j 5
    make_list 100 30000 > urls
    "$BIN/feeder" --at "$AT" --lease 1 urls > manifest 2> ledger 3>&- &
    FEEDER=$!
    PIDS+=("$FEEDER")
    until_true 20 grep -q 'is full: waiting for room' uploader.log
    in_disk mount -o remount,size=20m out
    until_true 30 lines_at_least 100 manifest
    wait "$FEEDER"
    until_true 30 finished_in_there
    in_disk cp -r out kept
    rmdir out && mv kept out
    check_tar manifest
    [ "$SAMPLES $OBJECTS" = '100 100' ]
    [ "$(jq -r .tries manifest | sort -u)" = 1 ]
}

# shellcheck disable=SC2016 # for the shell in there
in_disk() { nsenter -t "$HOLDER" -m sh -c 'cd "$0" && exec "$@"' "$T" "$@"; }
finished_in_there() { [ -z "$(in_disk find out -name '*.part')" ]; }

@test "a directory that can't be used: status 5, in words; one that is missing is made" {
    run -5 "$BIN/uploader" --at "$AT" tar:/proc/nothing
    [[ $output == *"tar:/proc/nothing: "* ]]
    run -5 "$BIN/uploader" --at "$AT" tar:no/such/parent
    if [ "$(id -u)" -eq 0 ] && unshare -m true 2>/dev/null; then
        mkdir fixed
        # shellcheck disable=SC2016
        run -5 unshare -m sh -c 'mount -t tmpfs -o ro none fixed && exec "$@"' - \
            "$BIN/uploader" --at "$AT" tar:fixed
        [[ $output == *"Read-only file system"* ]]
    fi
    run -4 "$BIN/uploader" --at "$AT" --wait 0.1 tar:new
    [ -d new ]
}

@test "--fsync: a group is synced before its receipts" {
    start_origin
    command -v strace > /dev/null || skip "no strace"
    strace -f -e trace=fdatasync,fsync -o calls "$BIN/uploader" --at "$AT" --fsync tar:out \
        2>> uploader.log 3>&- &
    PIDS+=($!)
    start_fetcher
    make_list 550 1000 > urls # three groups at least, and the shard's end
    run_feeder
    until_true 30 test -e out/shard-000000.tar
    check_tar manifest
    [ "$(grep -c fdatasync calls)" -ge 4 ]
    [ "$(grep -c fdatasync calls)" -le 600 ]
}
