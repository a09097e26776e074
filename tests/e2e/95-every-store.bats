#!/usr/bin/env bats
# The same objects into every store, read back by a program that has nothing of ours: what is there
# is what the manifest says and what the origin has, no more and no less, also when the same list
# comes again. And once more with uploaders killed about each second.
#
# A store is two functions. NAME_store starts what it needs and sets DEST, and OPTIONS or PROGRAM;
# NAME_read says "digest key" for each object that is there.
bats_require_minimum_version 1.5.0
load helpers
load s3

ROOT=$BATS_TEST_DIRNAME/../..
COUNT=${COUNT:-200}
KILLS=${KILLS:-3}

# COUNT of them, from a byte to 400 kB, some beyond a chunk; with and without a length, coded,
# redirected; some that would be something else to a shell, a path or a header.
paths() {
    printf '/-/bytes/%s?x=1\n' "2000/$(printf 'x%.0s' {1..2000})" '100/..%2F..%2Fetc%2Fpasswd' \
        "101/\$(touch%20owned);'\"\`|{key}&*.jpg" '102/a%00.b%0D%0AX-Mine:%20yes'
    awk -v count="$COUNT" 'BEGIN {
        split("chunked=1 gzip=1 nolength=1 hop=1 deflate=1 close=1", query, " ")
        for (i = 1; i <= count - 4; i++) {
            bytes = i * 37 % 4096 + 1
            if (i % 5 == 0) bytes = i * 397 % 65536 + 1
            if (i % 10 == 1) bytes = 1
            if (i % 25 == 0) bytes = 262145 + i * 131 % 137855
            printf "/-/bytes/%d/%d.bin?%s\n", bytes, i, query[i % 6 + 1]
        }
    }'
}

setup_file() {
    local path
    serve_s3_for_file
    paths > "$BATS_FILE_TMPDIR/paths"
    while read -r path; do
        echo "$("$BIN/origin" --print "${path%\?*}" | sha256sum | cut -d' ' -f1) ${path%\?*}"
    done < "$BATS_FILE_TMPDIR/paths" | sort > "$BATS_FILE_TMPDIR/expected"
}

teardown_file() { end_s3_for_file; }

start_one() {
    "${PROGRAM[@]}" --at "$AT" "${OPTIONS[@]}" "$DEST" 2>> uploader.log 3>&- &
    UPLOADER=$!
    PIDS+=("$UPLOADER")
}

start_feeder() {
    "$BIN/feeder" --at "$AT" --retry-delay 0.05 "$@" urls > manifest 2> feeder.log 3>&- &
    FEEDER=$!
    PIDS+=("$FEEDER")
}

# The feeder, with status 0; if not, how.
ended_well() {
    wait "$FEEDER" || { tail -n 3 feeder.log; grep -m 3 '"failed"' manifest; return 1; }
}


# begin NAME [QUERY]: the store and the list.
begin() {
    PROGRAM=("$BIN/uploader") OPTIONS=()
    start_origin
    "$1_store"
    sed "s|^|$BASE|; s|\$|${2:-}|" "$BATS_FILE_TMPDIR/paths" > urls
    start_one
    start_fetcher -j 8 --compressed
}

# Every line once, each with the origin's digest; in the store the same keys with the same digests.
# An object may be there twice only where keys are no names.
check_store() {
    diff "$BATS_FILE_TMPDIR/expected" <(jq -r '"\(.sha256) \(
        .url | sub("^http://[^/]*"; "") | sub("[?].*"; ""))"' manifest | sort)
    rm -rf got
    "$1_read" > there
    jq -r '"\(.sha256) \(.key)"' manifest | sort > said
    diff said <(sort -u there)
    [ "$1" = tar ] || [ "$(wc -l < there)" -eq "$COUNT" ]
}

# deliver NAME: the run that has begun, to its end.
deliver() {
    start_feeder
    ended_well
    until_true 60 ended "$UPLOADER"
    check_store "$1"
    [ "$(jq -s 'map(.tries) | max' manifest)" -eq 1 ]
}

# into NAME AGAIN: the list, and once more. Then what is there is `kept`, and said to be, `put`
# again, or there `twice`.
into() {
    begin "$1"
    deliver "$1"
    run -1 grep -q existing manifest
    start_one
    start_fetcher -j 8 --compressed
    deliver "$1"
    case $2 in
    kept) [ "$(grep -c '"existing":true' manifest)" -eq "$COUNT" ] ;;
    put) ! grep -q existing manifest ;;
    twice) grep -Eq "(^[0-9]+ |response=)$((2 * COUNT))( |\$)" counts ;;
    esac
}

killed_into() {
    local killed=0
    begin "$1" "\&wait=$((40000 / COUNT + 1))" # 8 at a time: five seconds, whatever is held when
    start_feeder --lease 1
    until_true 30 test -s manifest
    while [ $killed -lt "$KILLS" ]; do
        read -rt 1 <> <(:) || :
        ! ended "$FEEDER" || break
        kill -9 "$UPLOADER"
        killed=$((killed + 1))
        start_one
    done
    echo "# $killed killed" >&3
    [ $killed -ge 2 ]
    ended_well
    kill "$UPLOADER" 2>/dev/null || : # it may have come when all was over
    until_true 60 ended "$UPLOADER"
    # What killed ones leave, the next to start clears away, or finishes.
    [ "${PROGRAM[0]}" != "$BIN/uploader" ] ||
        run -4 "$BIN/uploader" --at "$AT" --wait 0.1 "${OPTIONS[@]}" "$DEST"
    check_store "$1"
}

# files DIR: "digest path" for each file below it.
files() {
    (cd "$1" && find . -type f -printf '%P\0' | xargs -0 sha256sum) | sed 's/  / /'
}

dir_store() { DEST=dir:out; }
dir_read() { files out; }

example_store() { PROGRAM=("$ROOT/scripts/examples/uploader.py") DEST=dir:out; }
example_read() { files out; }

tar_store() { DEST=tar:out OPTIONS=(--shard-count 70); }
tar_read() {
    "$BATS_TEST_DIRNAME/../tar/check" out manifest sums > counts
    cat sums
}

warc_store() { DEST=warc:warcs OPTIONS=(--warc-size 300k); }
warc_read() {
    rm -rf out
    "$BATS_TEST_DIRNAME/warc-read" warcs manifest out > counts
    files out
}

# What curl gets of each key of the manifest below URL $1; $2 has as many files.
got_by_curl() {
    [ "$(find "$2" -type f | wc -l)" -eq "$COUNT" ]
    jq -r --arg url "$1" '"url = \"\($url)/\(.key)\"\noutput = \"got/\(.key)\""' manifest > keys
    curl -sS --fail --create-dirs -K keys
    files got
}

nginx_store() {
    mkdir dav
    start_nginx "location / { root $T/dav; dav_methods PUT; create_full_put_path on; }"
    DEST=$NGINX/o/{key}
}
nginx_read() { got_by_curl "$NGINX/o" dav/o; }

put_store() {
    "$BATS_TEST_DIRNAME/../put/serve" "$T/put" > put.port 2> put.log 3>&- &
    PIDS+=($!)
    until_true 60 test -s put.port
    PUT=http://127.0.0.1:$(cut -d' ' -f2 put.port)
    DEST=$PUT/o/{key}
}
put_read() { got_by_curl "$PUT/o" put/objects; }

s3_store() {
    start_s3
    DEST=s3://$BKT/p OPTIONS=(--endpoint-url "$S3" --part-size 300k)
}
s3_read() {
    read_back p/
    files got
}

exec_store() { DEST="exec:$ROOT/scripts/examples/gzip-store out {key}"; }
exec_read() {
    find out -name '.*' -type f -delete # of attempts that were killed; no reader looks at these
    rm -rf plain
    cp -r out plain
    gunzip -r plain
    files plain
}

pipe_store() { DEST="pipe:$ROOT/scripts/examples/sqlite-store out.db"; }
pipe_read() {
    python3 -c 'if True:
        import hashlib, sqlite3
        for key, body in sqlite3.connect("out.db").execute("SELECT key, body FROM objects"):
            print(hashlib.sha256(body).hexdigest(), key)'
}

@test "dir: every object, and again" { into dir kept; }
@test "dir: every object, uploaders killed" { killed_into dir; }
@test "tar: every object, and again" { into tar twice; }
@test "tar: every object, uploaders killed" { killed_into tar; }
@test "warc: every object, and again" { into warc twice; }
@test "warc: every object, uploaders killed" { killed_into warc; }
@test "http: nginx: every object, and again" { into nginx put; }
@test "http: nginx: every object, uploaders killed" { killed_into nginx; }
@test "http: put-if-absent: every object, and again" { into put kept; }
@test "http: put-if-absent: every object, uploaders killed" { killed_into put; }
@test "s3: every object, and again" { into s3 kept; }
@test "s3: every object, uploaders killed" { killed_into s3; }
@test "exec: every object, and again" { into exec put; }
@test "exec: every object, uploaders killed" { killed_into exec; }
@test "pipe: every object, and again" { into pipe put; }
@test "pipe: every object, uploaders killed" { killed_into pipe; }
@test "an upload stage in Python: every object, and again" { into example kept; }
@test "an upload stage in Python: every object, uploaders killed" { killed_into example; }

# Keys come over the wire. The conformance case has `../`, NUL, bytes, and more than 1,024 of them.
@test "what is no key gets into no store" {
    local dest
    mkdir dav
    start_nginx "location / { root $T/dav; dav_methods PUT; create_full_put_path on; }"
    start_s3
    export AWS_ENDPOINT_URL=$S3
    for dest in dir:there tar:there warc:there "$NGINX/o/{key}" "s3://$BKT/p" null: \
        "'exec:$ROOT/scripts/examples/gzip-store there {key}'" \
        "'pipe:$ROOT/scripts/examples/sqlite-store there.db'"; do
        "$ROOT/scripts/conform" --case keys-that-are-none "$BIN/uploader --at {at} $dest" > tap ||
            { cat tap; return 1; }
        grep -q '^ok 1' tap
    done
    [ "$(find dav -type f | wc -l)" -eq 1 ]
}
