#!/usr/bin/env bats
# What uploader/store.h promises a store, and what a store may do: tests/store/store_rude.c.
bats_require_minimum_version 1.5.0
load helpers

start_rude() { UPLOADER_PROGRAM=rude-uploader start_uploader "$@" rude:out; }

# manifest_of PATTERN: the one line whose URL has it.
manifest_of() { jq -c "select(.url | contains(\"$1\"))" manifest; }

@test "a store's own words, class and verdict reach the manifest; what may pass is tried again" {
    start_origin
    start_rude
    start_fetcher
    for how in begin write again busy final class none; do
        echo "$BASE/-/bytes/1000/$how?store=$how"
    done > urls
    "$BIN/feeder" --at "$AT" --retry-delay 0.1 urls > manifest 2> ledger && false
    [ "$(jq -r 'select(.status == "failed") | .url' manifest | wc -l)" -eq 1 ]
    [[ $(manifest_of store=final) == *'"class":"store","errormsg":"not today: '* ]]
    [ "$(manifest_of store=final | jq .tries)" -eq 1 ]
    for how in begin write again class; do
        [ "$(manifest_of "store=$how" | jq .tries)" -eq 2 ]
    done
    for how in busy none; do
        [ "$(manifest_of "store=$how" | jq .tries)" -eq 1 ]
    done
    grep -q 'asks for less: waiting 300 ms' uploader.log
    check_run urls manifest
    [ "$(manifest_of store=none | jq -r .place)" = rude#7 ]
}

@test "without another try a store's words and class are the manifest's" {
    start_origin
    start_rude
    start_fetcher
    for how in begin write again class; do
        echo "$BASE/-/bytes/1000/$how?store=$how"
    done > urls
    "$BIN/feeder" --at "$AT" --retry 0 urls > manifest 2> ledger && false
    [ "$(manifest_of store=begin | jq -r '.class + ":" + .errormsg')" = 'store:Input/output error' ]
    [[ $(manifest_of store=write | jq -r .errormsg) == 'the tape of '*' is torn' ]]
    [[ $(manifest_of store=again | jq -r .errormsg) == 'not today: '* ]]
    [ "$(manifest_of store=class | jq -r .class)" = tls ]
}

@test "the facts: header blocks as they were, of the last response; digest; address" {
    start_origin
    start_rude
    start_fetcher -H 'X-Mine: yes' --compressed
    {
        echo "$BASE/-/bytes/1000/a?hop=2"
        echo "$BASE/-/bytes/3000000/b?gzip=1"
        echo "$BASE/-/bytes/0/c"
        echo "$BASE/-/bytes/10/d?headers=100000"
    } > urls
    "$BIN/feeder" --at "$AT" urls > manifest
    check_run urls manifest
    for i in 1 2 3; do
        grep -qx "ip 127.0.0.1" out/facts/$i
        grep -qx "code 200" out/facts/$i
        grep -qx "complete 1" out/facts/$i
        grep -q '^digest sha256:[0-9a-f]\{64\}$' out/facts/$i
        [ "$(grep -c '^GET ' out/facts/$i)" -eq 1 ]
        grep -q $'^X-Mine: yes\r$' out/facts/$i
        grep -q '^head [1-9]' out/facts/$i
        [ "$(grep -c 'HTTP/1.1 200' out/facts/$i)" -eq 1 ]
        [ "$(grep -c ' 302 ' out/facts/$i)" -eq 0 ]
        tail -c 4 out/facts/$i | cmp - <(printf '\r\n\r\n')
    done
    grep -q 'hop=0 HTTP/1.1' out/facts/1
    grep -qx "url $BASE/-/bytes/1000/a?hop=2" out/facts/1
    grep -qx "url_effective $BASE/-/bytes/1000/a?hop=0" out/facts/1
    grep -q 'Content-Encoding: gzip' out/facts/2
    grep -qx 'bytes 3000000' out/facts/2
    grep -qx 'head 0' out/facts/4 # too long to be carried
    grep -q '^request [1-9]' out/facts/4
}

@test "beside a store that wants no header blocks, one that does gets them" {
    start_origin
    start_rude
    start_uploader --join dir:plain
    endless_list 100 "?$PAD"
    "$BIN/feeder" --at "$AT" -v --window 200 list > manifest 2> ledger 3>&- &
    local feeder=$!
    PIDS+=("$feeder")
    until_true 30 all_joined 2 ledger
    read -rt 0.5 <> <(:) || : # both have heard of the run: fetchers are told of such alone
    start_fetcher
    both_have_some() { [ -n "$(ls out/facts 2>/dev/null)" ] && [ -n "$(find plain -type f)" ]; }
    until_true 30 lines_at_least 200 manifest
    until_true 30 both_have_some
    touch enough
    wait $feeder
    diff <(sort urls) <(jq -r .url manifest | sort)
    for f in out/facts/*; do grep -q '^head [1-9]' "$f"; done
    [ "$(find plain -type f | wc -l)" -gt 0 ]
}

@test "groups gather, and are committed within a second" {
    start_origin
    start_rude --gather 10
    start_fetcher
    make_list 2000 100 > urls
    SECONDS=0
    "$BIN/feeder" --at "$AT" urls > manifest
    [ $SECONDS -le 40 ] # eight groups of ten seconds each would be twice that
    check_run urls manifest
    [ "$(sort -n out/groups | tail -1)" -le 256 ]
    [ "$(wc -l < out/groups)" -le 30 ]
    make_list 1 100 '?alone' > urls
    start_rude --gather 10
    start_fetcher
    "$BIN/feeder" --at "$AT" urls > manifest
    [ "$(jq -r .status manifest)" = delivered ]
}

# Bodies that arrive side by side, slowly, and are whole late: more than --buffer holds.
@test "hundreds of half-arrived objects: --buffer is obeyed, and all complete" {
    start_origin
    mkdir spools
    TMPDIR=$T/spools start_rude --buffer 8M
    start_fetcher -j 150
    make_list 150 600000 '?rate=200000' > urls
    "$BIN/feeder" --at "$AT" urls > manifest 3>&- &
    local feeder=$! most=0 kb files=0
    while kill -0 $feeder 2>/dev/null; do
        kb=$(awk '/^RssAnon/ {print $2}' "/proc/$UPLOADER/status" 2>/dev/null) || break
        [ "${kb:-0}" -le $most ] || most=$kb
        files=$((files + $(find "/proc/$UPLOADER/fd" -lname "$T/spools/*" 2>/dev/null | wc -l)))
        read -rt 0.1 <> <(:) || :
    done
    wait $feeder
    check_run urls manifest
    echo "# most $most KB" >&3
    [ "$most" -le "${RSS_MOST_KB:-40000}" ]
    [ $files -gt 0 ]
    [ -z "$(ls spools)" ]
}

@test "no room for spools: waited for, in words; no try is counted" {
    [ "$(id -u)" -eq 0 ] && unshare -m true 2>/dev/null || skip "may not mount"
    start_origin
    mkdir spools
    # shellcheck disable=SC2016 # for the shell in there
    unshare -m sh -c 'mount -t tmpfs -o size=3m none spools && export TMPDIR=$PWD/spools &&
        exec "$@"' - "$BIN/rude-uploader" --at "$AT" --buffer 1M rude:out 2>> uploader.log 3>&- &
    PIDS+=($!)
    start_fetcher -j 10
    make_list 30 1000000 > urls
    "$BIN/feeder" --at "$AT" urls > manifest
    check_run urls manifest
    [ "$(jq -r .tries manifest | sort -u)" = 1 ]
    grep -q 'TMPDIR names another place' uploader.log
}

@test "--help lists each store with its options; a DEST of none is refused in words" {
    run -0 "$BIN/rude-uploader" --help
    [[ $output == *"rude:DIR  "*"as the objects' URLs say"*$'\nrude:DIR\n'*--gather* ]]
    run -2 "$BIN/rude-uploader" --at "$AT" --gather never rude:out
    [[ $output == *--gather* ]]
    run -2 "$BIN/uploader" nowhere:x
    [[ $output == *"'nowhere:x' is no DEST"*--help* ]]
}
