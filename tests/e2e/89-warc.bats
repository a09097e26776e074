#!/usr/bin/env bats
# warc:DIR, read back by tests/e2e/warc-read, which has nothing of ours.
bats_require_minimum_version 1.5.0
load helpers

warc_read() { "$BATS_TEST_DIRNAME/warc-read" "$@"; }

# Every file is strictly a WARC; every place leads to its object's body, which is the origin's.
check_warcs() {
    [ -z "$(find warcs -name '*.open')" ]
    rm -rf out
    mkdir -p out
    warc_read warcs manifest out > counts
    check_run urls manifest
}

# mixed_list COUNT: small and large ones, coded and not, some in two tries, some redirected.
mixed_list() {
    local i query
    for ((i = 0; i < $1; i++)); do
        case $((i % 10)) in
        0) query='gzip=1' ;;
        1) query='chunked=1' ;;
        2) query='nolength=1' ;;
        3) query='hop=2' ;;
        4) query='deflate=1' ;;
        5) query='reset=500&times=1' ;;
        6) query='headers=2000' ;;
        7) query='wait=20' ;;
        8) query='status=503&times=1' ;;
        *) query='close=1' ;;
        esac
        echo "$BASE/-/bytes/$((i * 397 % 30000))/$i?$query"
        [ $((i % 50)) -ne 5 ] || echo "$BASE/-/bytes/2500000/large-$i?$query"
    done
}

@test "500 mixed objects: strictly WARC 1.1, each at its place, files of --warc-size" {
    start_origin
    mixed_list 490 > urls
    echo "$BASE/-/bytes/100/gone?status=404" >> urls
    start_uploader --warc-size 300k warc:warcs
    local other=$UPLOADER
    start_uploader --warc-size 300k warc:warcs
    start_fetcher --compressed
    start_fetcher --compressed
    # Nothing before all four are there: who comes when all is over would wait for another run.
    # shellcheck disable=SC2094 # the feeder writes, the list's side looks
    "$BIN/feeder" --at "$AT" -v --retry-delay 0.05 \
        <(until_true 60 all_joined 4 ledger 3>&-; exec cat urls 3>&-) > manifest 2> ledger && false
    wait "$UPLOADER" "$other" # neither has left a file open
    check_warcs
    [ "$(jq -r 'select(.status == "failed") | .class' manifest)" = http ]
    [ "$(grep -o 'response=[0-9]*' counts)" = "response=$(($(wc -l < urls) - 1))" ]
    [ "$(grep -o 'request=[0-9]*' counts)" = "request=$(($(wc -l < urls) - 1))" ]
    [ "$(find warcs -name 'sluice-*.warc.gz' | wc -l)" -ge 20 ]
    gzip -t warcs/*
    [ "$(find warcs -type f -size +300k | wc -l)" -le 10 ] # a large one has its own
}

@test "an offset of the manifest is that of a gzip member, whose first lines are the response's" {
    start_origin
    make_list 50 1000 > urls
    start_uploader warc:warcs
    start_fetcher
    "$BIN/feeder" --at "$AT" urls > manifest
    wait "$UPLOADER"
    local place url
    while read -r place url; do
        tail -c "+$((${place#*#} + 1))" "warcs/${place%#*}" | zcat > record
        [ "$(sed -n 2p record)" = $'WARC-Type: response\r' ]
        [ "$(grep -am1 Target-URI record)" = "WARC-Target-URI: $url"$'\r' ]
    done < <(jq -r '"\(.place) \(.url)"' manifest)
    [ "$(ls warcs)" = "$(jq -r .place manifest | cut -d'#' -f1 | sort -u)" ]
}

@test "--compress none: plain files; --fsync: the same; a prefix of one's own" {
    start_origin
    mixed_list 100 > urls
    start_uploader --compress none --fsync --warc-size 200k --warc-prefix my-crawl_1 warc:warcs
    start_fetcher --compressed
    "$BIN/feeder" --at "$AT" --retry-delay 0.05 urls > manifest
    wait "$UPLOADER"
    check_warcs
    [ -z "$(find warcs -type f -not -name 'my-crawl_1-*.warc')" ]
    [ "$(grep -alm1 '^WARC/1.1' warcs/* | wc -l)" -eq "$(find warcs -type f | wc -l)" ]
}

@test "--fsync: a file, and its name, are synced before receipts" {
    start_origin
    command -v strace > /dev/null || skip "no strace"
    ASAN_OPTIONS=detect_leaks=0 strace -f -e trace=fdatasync,fsync -o calls "$BIN/uploader" \
        --at "$AT" --fsync warc:warcs 2>> uploader.log 3>&- &
    PIDS+=($!)
    start_fetcher
    make_list 550 1000 > urls # three groups at least, and the file's end
    "$BIN/feeder" --at "$AT" urls > manifest
    until_true 30 eval '! ls warcs | grep -q open'
    check_warcs
    [ "$(grep -c 'fdatasync' calls)" -ge 4 ]
    [ "$(grep -c 'fdatasync' calls)" -le 600 ]
    grep -q ' fsync' calls
}

# head_of PATTERN: the header block in the archive of the one object whose URL has it.
head_of() {
    local place
    place=$(jq -r "select(.url | contains(\"$1\")) | .place" manifest)
    tail -c "+$((${place#*#} + 1))" "warcs/${place%#*}" | zcat 2> /dev/null | tr -d '\r' |
        sed -n '/^HTTP/,/^$/p'
}

@test "header lines that would lie of the body are renamed, no others" {
    start_origin
    start_uploader warc:warcs
    start_fetcher --compressed
    printf '%s\n' "$BASE/-/bytes/5000/"{one?gzip=1,two?chunked=1,three} > urls
    "$BIN/feeder" --at "$AT" urls > manifest
    wait "$UPLOADER"
    check_warcs
    [[ $(head_of /one) == *$'\nX-Orig-Content-Encoding: gzip\n'* ]]
    [[ $(head_of /one) == *$'\nX-Orig-Transfer-Encoding: chunked\n'* ]]
    [[ $(head_of /one) == *$'\nContent-Length: 5000' ]]
    [[ $(head_of /two) == *$'\nX-Orig-Transfer-Encoding: chunked\n'*$'\nContent-Length: 5000' ]]
    [[ $(head_of /two) != *Content-Encoding* ]]
    curl -s -o /dev/null -D - "$BASE/-/bytes/5000/three" | tr -d '\r' > three
    [ "$(head_of /three)" = "$(cat three)" ]
}

@test "what comes coded to one who did not ask stays so, and its header says it" {
    start_origin
    start_uploader warc:warcs
    start_fetcher
    echo "$BASE/-/bytes/5000/a?gzip=1" > urls
    "$BIN/feeder" --at "$AT" urls > manifest
    wait "$UPLOADER"
    warc_read warcs manifest got
    [[ $(head_of /a) == *$'\nContent-Encoding: gzip\n'* ]]
    zcat "got/$(jq -r .key manifest)" | cmp - <("$BIN/origin" --print /-/bytes/5000/a)
}

@test "without a header block an object is a resource" {
    start_origin
    start_uploader warc:warcs
    start_fetcher
    printf '%s\n' "$BASE/-/bytes/5000/a?headers=100000" "$BASE/-/bytes/0/b?headers=100000" > urls
    "$BIN/feeder" --at "$AT" urls > manifest
    wait "$UPLOADER"
    check_warcs
    [ "$(cat counts)" = "warcinfo=1 request=0 response=0 resource=2" ]
}

@test "uploaders killed each second: every delivered object at its place, no file left open" {
    start_origin
    make_list 9000 3000 '?wait=30' > urls
    start_uploader --warc-size 1M warc:warcs
    start_fetcher -j 20
    start_fetcher -j 20
    "$BIN/feeder" --at "$AT" --lease 0.5 urls > manifest 2> ledger 3>&- & local feeder=$! killed=0
    PIDS+=("$feeder")
    start_uploader --warc-size 1M warc:warcs
    while [ $killed -lt 20 ] && ! lines_at_least 9000 manifest; do
        local victim=$UPLOADER
        read -rt 1 <> <(:) || :
        start_uploader --warc-size 1M warc:warcs # before the other goes: one is always there
        kill -9 "$victim" || break
        killed=$((killed + 1))
    done
    wait "$feeder"
    until_true 30 all_ended
    echo "# killed $killed" >&3
    [ $killed -ge 2 ]
    check_warcs
    [ "$(jq -r .status manifest | sort -u)" = delivered ]
    gzip -t warcs/*
    grep -q 'finishing .*, which an uploader that died has left' uploader.log
}

# The last one may have come when all was over; it is asked to go once it is an uploader.
all_ended() {
    local comm
    comm=$(cat "/proc/$UPLOADER/comm" 2>/dev/null)
    [ "$comm" != uploader ] || kill "$UPLOADER"
    [ -z "$comm" ] && ! pgrep -f "uploader --at $AT"
}

@test "what was left torn is cut after its last whole object; what is not ours is left alone" {
    start_origin
    local options whole at
    for options in '--compress gz' '--compress none'; do
        rm -rf warcs
        make_list 20 3000 > urls
        # shellcheck disable=SC2086
        start_uploader $options warc:warcs
        start_fetcher
        "$BIN/feeder" --at "$AT" urls > manifest
        wait "$UPLOADER"
        whole=$(basename warcs/*)
        at=$(jq -r .place manifest | cut -d'#' -f2 | sort -n | tail -1)
        truncate -s $((at + 400)) "warcs/$whole" # in the midst of the last response
        mv "warcs/$whole" "warcs/$whole.open"
        head -c 10000 /dev/urandom > warcs/x-20200101000000000-00000-h.warc.gz.open
        echo mine > warcs/notes.open
        : > warcs/y-20200101000000000-00000-h.warc.open
        printf 'WARC/1.0\r\nWARC-Type: warcinfo\r\nContent-Length: 0\r\n\r\n\r\n\r\n' | gzip \
            > 'warcs/WEB-20260101000000123-00000-1234~crawler~8443.warc.gz.open'
        # shellcheck disable=SC2086
        "$BIN/uploader" --at "$AT" --wait 0.1 $options warc:warcs 2> said && false
        grep -q "finishing $whole" said
        grep -q 'x-20200101000000000-00000-h.warc.gz.open' said
        grep -q '~8443.warc.gz.open does not begin as ours do: left alone' said
        zcat < warcs/WEB-*.open | grep -q warcinfo
        [ ! -e warcs/y-20200101000000000-00000-h.warc.open ]
        rm warcs/*.open
        [ "$(find warcs -type f)" = "warcs/$whole" ]
        [[ $(warc_read warcs) == *request=19\ response=19* ]]
    done
}

@test "a file of a living uploader is no other's to finish" {
    start_origin
    make_list 10 1000 > urls
    start_uploader --stay warc:warcs
    start_fetcher
    "$BIN/feeder" --at "$AT" urls > manifest
    [ "$(find warcs -name '*.warc.gz.open' | wc -l)" -eq 1 ]
    "$BIN/uploader" --at "$AT-2" --wait 0.1 warc:warcs 2> said && false
    [ "$(find warcs -name '*.warc.gz.open' | wc -l)" -eq 1 ]
    kill "$UPLOADER"
    wait "$UPLOADER"
    check_warcs
}

@test "a backup by hard links of a file that is open takes nothing from it" {
    start_origin
    make_list 10 1000 > urls
    start_uploader --stay warc:warcs
    start_fetcher
    "$BIN/feeder" --at "$AT" urls > manifest
    cp -al warcs backup
    kill "$UPLOADER"
    wait "$UPLOADER"
    check_warcs
}

# In a mount namespace: `warcs` is a disk of 2 MB.
@test "a full disk is waited for, and costs no try" {
    [ "$(id -u)" -eq 0 ] && unshare -m true 2>/dev/null || skip "may not mount"
    mkdir warcs
    start_origin
    make_list 150 30000 '?wait=20' > urls
    unshare -m sh -c 'mount -t tmpfs -o size=2m none warcs && echo > ready && exec sleep 100' 3>&- &
    local holder=$!
    PIDS+=("$holder")
    until_true 30 test -s ready
    # shellcheck disable=SC2016 # for the shell in there
    in_disk() { nsenter -t "$holder" -m sh -c 'cd "$0" && exec "$@"' "$T" "$@"; }
    in_disk "$BIN/uploader" --at "$AT" --min-free 0 warc:warcs 2>> uploader.log 3>&- &
    PIDS+=($!)
    start_fetcher -j 5
    "$BIN/feeder" --at "$AT" --lease 1 urls > manifest 2> ledger 3>&- & local feeder=$!
    PIDS+=("$feeder")
    until_true 20 grep -q 'waiting for room' uploader.log
    until_true 20 lines_at_least 20 manifest
    sleep 1.5 # longer than the lease
    [ "$(wc -l < manifest)" -lt 150 ]
    in_disk mount -o remount,size=20m warcs
    wait "$feeder"
    until_true 30 grep -q 'has room again' uploader.log
    until_true 30 eval '! in_disk ls warcs | grep -q open'
    in_disk cp -r warcs kept
    rmdir warcs && mv kept warcs
    check_warcs
    [ "$(jq -r .tries manifest | sort -u)" = 1 ]
    gzip -t warcs/*
}

@test "a DIR that can't be written to, and options that are none, are refused in words" {
    echo file > plain
    run -5 "$BIN/uploader" --at "$AT" warc:missing/dir
    [[ $output == *"warc:missing/dir: No such file or directory"* ]]
    run -5 "$BIN/uploader" --at "$AT" warc:plain
    [[ $output == *"warc:plain: Not a directory"* ]]
    run -2 "$BIN/uploader" --at "$AT" --compress lz4 warc:out
    [[ $output == *"--compress: 'lz4'"* ]]
    run -2 "$BIN/uploader" --at "$AT" --warc-prefix ../x warc:out
    [[ $output == *"--warc-prefix: '../x'"* ]]
    run -0 "$BIN/uploader" --help
    [[ $output == *"warc:DIR "*$'\nwarc:DIR\n'*--warc-size*--warc-prefix* ]]
    [ "$(id -u)" -eq 0 ] && unshare -m true 2>/dev/null || skip "may not mount"
    mkdir ro
    # shellcheck disable=SC2016 # for the shell in there
    run -5 unshare -m sh -c 'mount -t tmpfs -o ro none ro && exec "$@"' - \
        "$BIN/uploader" --at "$AT" warc:ro
    [[ $output == *"warc:ro: Read-only file system"* ]]
}
