#!/usr/bin/env bats
# What a store may meet, where no other file has it for that store (67, 88, 89: full disks; 40, 88,
# 89: read-only ones; 82, 83: credentials, buckets; 91, 92: commands; 95: keys and URLs).
bats_require_minimum_version 1.5.0
load helpers
load s3

ROOT=$BATS_TEST_DIRNAME/../..

setup_file() { serve_s3_for_file; }
teardown_file() { end_s3_for_file; }

may_mount() { [ "$(id -u)" -eq 0 ] && unshare -m true 2>/dev/null || skip "may not mount"; }

# on_disk OPTIONS COMMAND...: runs it where ./disk is a file system of its own.
on_disk() {
    mkdir -p disk
    # shellcheck disable=SC2016 # for the shell in there
    unshare -m sh -c 'mount -t tmpfs -o "$1" none disk && shift && exec "$@"' - "$@"
}

# feed STATUS: the list `urls`, from a fetcher.
feed() {
    local status=0
    start_fetcher -j 8
    timeout 120 "$BIN/feeder" --at "$AT" --retry-delay 0.05 --retry 1 urls > manifest \
        2> feeder.log 3>&- || status=$?
    [ "$status" -eq "$1" ] || { cat feeder.log uploader.log; return 1; }
}

@test "http and s3: no room for spools: waited for, in words; no try is counted" {
    may_mount
    start_origin
    start_s3
    mkdir dav
    start_nginx "location / { root $T/dav; dav_methods PUT; create_full_put_path on; }"
    make_list 10 900000 > urls
    local dest
    export AWS_ENDPOINT_URL=$S3
    for dest in "$NGINX/{key}" "s3://$BKT/p"; do
        : > uploader.log
        on_disk size=2m env TMPDIR="$T/disk" "$BIN/uploader" --at "$AT" --buffer 1M "$dest" \
            2>> uploader.log 3>&- &
        PIDS+=($!)
        feed 0
        [ "$(jq -r '"\(.status) \(.tries)"' manifest | sort | uniq -c)" = '     10 delivered 1' ]
        grep -q 'TMPDIR names another place' uploader.log
        [ "$(grep -c 'has room again' uploader.log)" -le 1 ] # as often as that it had none
    done
}

@test "exec and pipe: a disk that is full or read-only fails objects, in the command's words" {
    may_mount
    start_origin
    make_list 3 300000 > urls
    local dest how
    for dest in "exec:$ROOT/scripts/examples/gzip-store disk {key}" \
        "pipe:$ROOT/scripts/examples/sqlite-store disk/db"; do
        for how in size=64k ro; do
            on_disk $how "$BIN/uploader" --at "$AT" "$dest" 2>> uploader.log 3>&- &
            PIDS+=($!)
            feed 1
            jq -r '"\(.class) \(.errormsg)"' manifest > said
            [ "$(wc -l < said)" -eq 3 ]
            run -1 grep -v '^store ' said
            echo "# $how ${dest%%:*}: $(sort -u said | head -n 1)" >&3
        done
    done
}

@test "an upload stage in Python: a full disk is waited for; a read-only one is said" {
    may_mount
    start_origin
    make_list 20 30000 > urls
    on_disk ro "$ROOT/scripts/examples/uploader.py" --at "$AT" dir:disk 2>> uploader.log 3>&- &
    PIDS+=($!)
    feed 1
    [ "$(jq -r .class manifest | sort -u)" = store ]
    [[ $(jq -r .errormsg manifest | sort -u) == *"Read-only file system"* ]]
    # shellcheck disable=SC2016 # for the shell in there
    unshare -m sh -c 'mount -t tmpfs -o size=200k none disk && echo > ready && exec sleep 100' \
        3>&- &
    local holder=$!
    PIDS+=("$holder")
    until_true 30 test -s ready
    # shellcheck disable=SC2016
    in_disk() { nsenter -t "$holder" -m sh -c 'cd "$0" && exec "$@"' "$T" "$@"; }
    in_disk "$(realpath "$ROOT")/scripts/examples/uploader.py" --at "$AT" dir:disk \
        2>> uploader.log 3>&- &
    PIDS+=($!)
    start_fetcher -j 4
    "$BIN/feeder" --at "$AT" urls > manifest 2> feeder.log 3>&- &
    local feeder=$!
    PIDS+=("$feeder")
    until_true 60 lines_at_least 3 manifest
    read -rt 1 <> <(:) || :
    [ "$(wc -l < manifest)" -lt 20 ]
    in_disk mount -o remount,size=20m disk
    wait "$feeder"
    [ "$(jq -r '"\(.status) \(.tries)"' manifest | sort | uniq -c)" = '     20 delivered 1' ]
}
