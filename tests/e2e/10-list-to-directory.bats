#!/usr/bin/env bats
bats_require_minimum_version 1.5.0
load helpers

@test "a list goes into a directory; all end by themselves with status 0" {
    start_origin
    make_list 3000 1024 > urls
    start_uploader dir:out
    local up=$UPLOADER
    start_fetcher; local f1=$FETCHER
    start_fetcher; local f2=$FETCHER
    mkfifo held # has no lines, and ends when all have joined
    "$BIN/feeder" -v --at "$AT" urls held > manifest 2> feeder.log 3>&- & local feeder=$!
    PIDS+=("$feeder")
    until_true 30 all_joined 3 > held
    wait "$feeder"
    run -1 grep 'handing it out again' feeder.log
    [[ $(tail -n 1 feeder.log) == *"3000 fed = 3000 delivered + 0 failed + 0 open"* ]]
    wait $up; wait $f1; wait $f2
    check_run urls manifest
    [ -z "$(find . -type s)" ]
}

@test "--fsync: bytes and names are synced, a group at a time, before the receipts" {
    start_origin
    make_list 1000 1024 > urls
    # A disk that takes its time, so that groups gather on any. (The leak sanitizer does not run under
    # ptrace.)
    ASAN_OPTIONS=detect_leaks=0 strace -f -qq -o trace -e trace=fdatasync,fsync,linkat \
        -e inject=fdatasync:delay_enter=5000 "$BIN/uploader" --at "$AT" --fsync dir:out 2> uploader.log 3>&- &
    local traced=$!
    PIDS+=($traced)
    start_fetcher
    run -0 bash -c "'$BIN/feeder' --at $AT urls > manifest"
    check_run urls manifest
    wait $traced
    [ "$(grep -c ' fdatasync(' trace)" -ge 1000 ]
    local names
    names=$(grep -c ' fsync(' trace)
    echo "# 1000 objects, $names directory syncs" >&3
    [ "$names" -ge 1 ]
    [ "$names" -lt 1000 ]
    awk '/ fdatasync\(/ { synced++ } / linkat\(/ && !/probe/ { if (++linked > synced) exit 1 }
        / fsync\(/ { last = NR } END { exit !(last > 0) }' trace
}

@test "lines that are no URLs fail as input, with file and line; the run goes on" {
    start_origin
    printf '# comment\r\n\r\n%s\r\nnot a url\nftp://x/y\nhttp://\n' "$BASE/-/bytes/10/a" > urls
    start_uploader dir:out
    start_fetcher
    run -1 bash -c "'$BIN/feeder' --at $AT urls > manifest"
    [[ $output == *"urls:4: 'not a url' "* ]]
    [ "$(jq -s 'map(select(.class == "input")) | length' manifest)" -eq 3 ]
    [ "$(jq -s 'map(select(.status == "delivered")) | length' manifest)" -eq 1 ]
    [ "$(jq -r 'select(.status == "delivered") | .id' manifest)" -eq 3 ]
}

@test "what the origin does wrong has its class in the manifest" {
    start_origin
    cat > urls <<END
$BASE/-/bytes/100/a?status=404
$BASE/-/bytes/100/b?status=503&times=1&retry-after=0
$BASE/-/bytes/100000/c?truncate=5000&times=1
$BASE/-/bytes/100000/d?reset=5000&times=1
$BASE/-/bytes/100/e?loop=1
$BASE/-/bytes/100/f?to=file:///etc/passwd
$BASE/-/bytes/100/g?stall=head
$BASE/-/bytes/100/h?hop=3
$BASE/-/bytes/0/i
$BASE/-/bytes/300000/j
http://127.0.0.1:1/k
$BASE/-/bytes/1000/l?headers=300000
END
    start_uploader dir:out
    start_fetcher --speed-time 2 --max-filesize 200k # no busy origin is taken for one that stalls
    run -1 "$BIN/feeder" --at "$AT" --retry 1 --retry-delay 0.05 urls
    class() { jq -rn --arg n "/$1" '$in[] | select(.url | split("?")[0] | endswith($n)) | .class // .status' --slurpfile in manifest; }
    echo "$output" | grep '^{' > manifest
    [ "$(class a)" = http ]
    [ "$(class b)" = delivered ]
    [ "$(class c)" = delivered ]
    [ "$(class d)" = delivered ]
    [ "$(class e)" = redirect ]
    [ "$(class f)" = redirect ]
    [ "$(class g)" = timeout ]
    [ "$(class h)" = delivered ]
    [ "$(class i)" = delivered ]
    [ "$(class j)" = too-large ]
    [ "$(class k)" = connect ]
    [ "$(class l)" = too-large ]
    # Where it came from: the URL itself, but for the one that was redirected; of a failure if it had
    # an answer.
    where() { jq -r --arg n "/$1" 'select(.url | split("?")[0] | endswith($n)) |
        if .url_effective == .url then "there" else .url_effective end' manifest; }
    [ "$(where a)" = there ]
    [ "$(where b)" = there ]
    [ "$(where h)" = "$BASE/-/bytes/100/h?hop=0" ]
    [ "$(where k)" = null ]
}

@test "loopback is refused without --allow-net" {
    start_origin
    make_list 1 10 > urls
    start_uploader dir:out
    "$BIN/fetcher" --at "$AT" 3>&- & PIDS+=($!)
    run -1 "$BIN/feeder" --at "$AT" urls
    [[ $output == *'"class":"refused"'* ]]
    [ "$(curl -s "$BASE/-/count/-/bytes/10/1")" -eq 0 ]
}

@test "--compressed: bodies are decoded, counted and limited after decoding" {
    start_origin
    printf '%s\n' "$BASE/-/bytes/700000/a?gzip=1" "$BASE/-/bytes/5000/b?deflate=1" \
        "$BASE/-/bomb/1000000000" "$BASE/-/bytes/900/c?badgzip=1" > urls
    start_uploader dir:out
    start_fetcher --compressed --max-filesize 1M --chunk-size 64k
    run -1 bash -c "'$BIN/feeder' --at $AT --retry 0 urls > manifest"
    [ "$(jq -r 'select(.status == "delivered") | .size_download' manifest | sort -n | xargs)" = "5000 700000" ]
    [ "$(jq -r 'select(.status == "failed") | .class' manifest | sort | xargs)" = "encoding too-large" ]
    check_run urls manifest
}

@test "existing objects are a success, said with the digest of what is there" {
    start_origin
    make_list 50 100 > urls
    for round in 1 2; do
        start_uploader dir:out
        start_fetcher
        "$BIN/feeder" --at "$AT" urls > manifest.$round
        wait $UPLOADER; wait $FETCHER
    done
    [ "$(grep -c '"existing":true' manifest.2)" -eq 50 ]
    diff <(jq -r '"\(.url) \(.sha256)"' manifest.1 | sort) <(jq -r '"\(.url) \(.sha256)"' manifest.2 | sort)
}

@test "--overwrite replaces what is there; without it, that stays and is reported as it is" {
    start_origin
    make_list 20 100 > urls
    local options
    for options in "" "" --overwrite; do
        # shellcheck disable=SC2086
        start_uploader $options dir:out
        start_fetcher
        "$BIN/feeder" --at "$AT" urls > manifest
        wait "$UPLOADER"
        jq -r '"\(.sha256)  out/\(.key)"' manifest > sums
        sha256sum --quiet -c sums
        [ -n "$options" ] || for one in out/*/*; do echo other > "$one"; done
    done
    run -1 grep -q existing manifest
    check_run urls manifest
}

@test "directories that somebody removes meanwhile are made again" {
    start_origin
    make_list 300 100 > urls
    local options
    for options in "" --fsync --overwrite; do
        # shellcheck disable=SC2086
        start_uploader --stay $options dir:out
        for round in 1 2; do
            start_fetcher
            "$BIN/feeder" --at "$AT" --retry 0 urls > manifest
            check_run urls manifest
            [ "$(grep -c existing manifest)" -eq 0 ]
            rm -rf out/*
        done
        kill "$UPLOADER"
        wait "$UPLOADER"
    done
}

# As a consumer does that moves what is there away and then removes empty directories.
take_away() {
    local file
    while [ ! -e "$T/over" ]; do
        find out -type f ! -name '.*' -printf '%P\n' > found
        while read -r file; do
            mkdir -p "taken/${file%/*}"
            mv "out/$file" "taken/$file"
        done < found
        find out -mindepth 1 -type d -empty -delete 2> /dev/null || :
    done
}

@test "a consumer takes objects away, and directories that are empty: nothing fails, nothing is lost" {
    start_origin
    make_list 600 100 > urls
    mkdir out taken
    take_away 3>&- & local taker=$!
    PIDS+=($taker)
    start_uploader dir:out
    start_fetcher
    "$BIN/feeder" --at "$AT" --retry 0 urls > manifest
    until_true 60 eval '[ "$(find taken -type f | wc -l)" -eq 600 ]'
    touch over
    wait $taker
    rmdir out
    mv taken out
    check_run urls manifest
}

@test "no proxy from the environment" {
    start_origin
    make_list 20 100 > urls
    export http_proxy=http://127.0.0.1:1 all_proxy=http://127.0.0.1:1 no_proxy=
    start_uploader dir:out
    start_fetcher
    "$BIN/feeder" --at "$AT" urls > manifest
    check_run urls manifest
}
