#!/usr/bin/env bats
# exec:COMMAND: a process per object, whatever it does.
bats_require_minimum_version 1.5.0
load helpers

# script NAME: an executable shell script, from stdin.
script() {
    { echo '#!/bin/bash'; cat; } > "$1"
    chmod +x "$1"
}

# Stores under out/, whole.
put_script() {
    script put << 'END'
mkdir -p "out/$(dirname "$1")" && cat > "out/.$SLUICE_ATTEMPT" && mv "out/.$SLUICE_ATTEMPT" "out/$1"
END
}

# A program whose command line shows that this test has started it.
sleeper() { cp "$(command -v sleep)" sleeper; }
none_sleeps() { ! pgrep -f "$T/sleeper" > /dev/null; }
some_sleep() { pgrep -f "$T/sleeper" > /dev/null; }
feed() { "$BIN/feeder" --at "$AT" --lease 1 --retry-delay 0.05 "$@" 2> ledger; }

@test "bodies arrive byte for byte, empty and large ones; facts are words and environment" {
    start_origin
    put_script
    script put-and-tell << 'END'
env -0 | grep -z ^SLUICE_ | sort -z | tr '\0' '\n' > "facts-$SLUICE_ID"
printf '%s\n' "$@" > "words-$SLUICE_ID"
./put "$1"
END
    SLUICE_KEY=mine SLUICE_OTHER=1 start_uploader \
        "exec:./put-and-tell {key} {id}:{bytes} 'a  \"b' \"c 'd\" {url}"
    start_fetcher
    {
        make_list 50 3000
        echo "$BASE/-/bytes/0/empty"
        echo "$BASE/-/bytes/20000000/large"
        echo "$BASE/-/bytes/70/moved?hop=2"
    } > urls
    feed urls > manifest
    check_run urls manifest
    local id=53
    jq -r "select(.id == $id) | \"SLUICE_BYTES=\(.size_download)
SLUICE_CONTENT_TYPE=\(.content_type)\nSLUICE_DIGEST=sha256:\(.sha256)\nSLUICE_ID=$id\nSLUICE_KEY=\(.key)\nSLUICE_RESPONSE_CODE=200
SLUICE_SHA256=\(.sha256)\nSLUICE_URL=\(.url)\nSLUICE_URL_EFFECTIVE=\(.url_effective)\"" manifest |
        diff - <(grep -v ^SLUICE_ATTEMPT= facts-$id)
    grep -Eqx 'SLUICE_ATTEMPT=[0-9a-f]{32}' facts-$id
    jq -r "select(.id == $id) | \"\(.key)\n$id:70\na  \\\"b\nc 'd\n\(.url)\"" manifest |
        diff - words-$id
}

@test "an attempt has its number alone: in a try again, the next run, another uploader" {
    start_origin
    script tell << 'END'
echo "$SLUICE_ATTEMPT" >> attempts
[ -e "second-$SLUICE_ID" ] || { touch "second-$SLUICE_ID"; exit 75; }
END
    make_list 10 100 > urls
    start_uploader --stay exec:./tell
    local round
    for round in 1 2; do
        start_fetcher
        feed urls > manifest
    done
    AT=$AT-2
    start_uploader exec:./tell
    start_fetcher
    feed urls > manifest
    [ "$(wc -l < attempts)" -ge 40 ] # more where a busy machine let a lease lapse
    [ -z "$(sort attempts | uniq -d)" ]
}

@test "two runs at once into one directory, by gzip-store: each object has its own bytes" {
    start_origin
    mkdir bin
    # Both have written before either goes on.
    script bin/gzip << END
$(command -v gzip)
touch "$T/written-\$\$"
until [ "\$(ls "$T" | grep -c ^written-)" -ge 2 ]; do read -rt 0.02 <> <(:) || :; done
END
    local run at=$AT feeders=()
    for run in 1 2; do
        AT=$at-$run
        PATH=$T/bin:$PATH start_uploader \
            "exec:$BATS_TEST_DIRNAME/../../scripts/examples/gzip-store out {key}"
        start_fetcher
        echo "$BASE/-/bytes/1000/$run" > urls-$run
        feed --retry 0 urls-$run > manifest-$run 3>&- &
        feeders+=($!)
        PIDS+=($!)
    done
    wait "${feeders[0]}"
    wait "${feeders[1]}"
    gunzip -r out
    cat urls-? > urls
    cat manifest-? > manifest
    check_run urls manifest
}

@test "whatever a URL has in it, it is one word, and no shell sees it" {
    start_origin
    script tell << 'END'
printf '%s\n' "$#" "$@" > "words-$SLUICE_ID"
END
    start_uploader 'exec:./tell {url} x{url}y'
    start_fetcher
    # shellcheck disable=SC2016 # nobody is to expand it
    printf "$BASE/-/bytes/10/%s\n" 'a;touch$IFS''owned' 'b"`touch$IFS''owned`' \
        'c$(touch${IFS}owned)&&|*?x={key}' "d'" > urls
    feed urls > manifest
    [ "$(grep -c delivered manifest)" -eq 4 ]
    local id url
    for id in 1 2 3 4; do
        url=$(sed -n ${id}p urls)
        diff <(printf '2\n%s\nx%sy\n' "$url" "$url") words-$id
    done
    [ ! -e owned ]
}

@test "its exit status is the verdict; what it said is in the manifest" {
    start_origin
    script judge << 'END'
tries=$(cat "tries-$SLUICE_ID" 2> /dev/null || echo 0)
echo $((tries + 1)) > "tries-$SLUICE_ID"
case $SLUICE_URL in
*stored) head -c 10 > /dev/null; exit 0 ;;
*again) echo 'not now' >&2; [ "$tries" -gt 0 ] || exit 75 ;;
*signal) [ "$tries" -gt 0 ] || kill -9 $$ ;;
*final) printf '  no \xff\xc3\xa9 good:\n\ttoo\033 bad\n\n' >&2; exit 1 ;;
*long) printf '\xc3\xa9%.0s' {1..5000} >&2; exit 2 ;;
*never) echo out of luck >&2; exit 75 ;;
esac
END
    start_uploader 'exec:./judge'
    start_fetcher
    for how in stored again signal final long never; do
        echo "$BASE/-/bytes/100000/$how"
    done > urls
    feed --retry 1 urls > manifest && false
    [ "$(jq -r '"\(.url | sub(".*/"; "")) \(.status) \(.tries)"' manifest | sort | tr '\n' ',')" = \
        "again delivered 2,final failed 1,long failed 1,never failed 2,signal delivered 2,\
stored delivered 1," ]
    [ "$(jq -r 'select(.url | endswith("final")) | "\(.class) \(.errormsg)"' manifest)" = \
        'store exit status 1: no ?é good:  too  bad' ]
    [ "$(jq -r 'select(.url | endswith("never")) | "\(.class) \(.errormsg)"' manifest)" = \
        'store exit status 75: out of luck' ]
    [ "$(jq -r 'select(.url | endswith("long")) | .errormsg' manifest)" = \
        "exit status 2: $(printf 'é%.0s' {1..100})" ]
}

@test "--timeout ends a command that hangs, and all that it has started" {
    start_origin
    sleeper
    script hang << END
trap '' TERM
"$T/sleeper" 1000 &
"$T/sleeper" 1001
"$T/sleeper" 1002
END
    start_uploader --timeout 0.2 'exec:./hang'
    start_fetcher
    make_list 3 100 > urls
    feed --retry 1 urls > manifest && false
    [ "$(jq -r '"\(.class) \(.tries) \(.errormsg)"' manifest | sort -u)" = \
        'store 2 the command took longer than --timeout (0.2 s)' ]
    until_true 5 none_sleeps # killed, and gone as soon as the machine gets to it
}

@test "what a command leaves behind in its group ends with it" {
    start_origin
    sleeper
    script leave << END
"$T/sleeper" 1000 &
exit 0
END
    start_uploader 'exec:./leave'
    start_fetcher
    make_list 20 100 > urls
    feed urls > manifest
    until_true 5 none_sleeps # as above
}

@test "no such command, none that can be run, none at all: status 5 or 2, in words" {
    echo 'exit 0' > plain
    mkdir dir
    run -5 "$BIN/uploader" --at "$AT" 'exec:./missing {key}'
    [[ $output == *"exec:./missing {key}: ./missing: No such file or directory"* ]]
    run -5 "$BIN/uploader" --at "$AT" exec:no-such-command-anywhere
    [[ $output == *"No such file"* ]]
    for bad in ./plain ./dir; do
        run -5 "$BIN/uploader" --at "$AT" "exec:$bad"
        [[ $output == *"$bad: Permission denied"* ]]
    done
    run -2 "$BIN/uploader" --at "$AT" 'exec:  '
    [[ $output == *"a command is to follow"* ]]
    run -2 "$BIN/uploader" --at "$AT" 'exec:true {kye}'
    [[ $output == *"{kye} is no fact (those are {key} {id}"* ]]
    run -2 "$BIN/uploader" --at "$AT" 'exec:{key} x'
    [[ $output == *"{key}: a fact can't name the command"* ]]
    run -2 "$BIN/uploader" --at "$AT" "exec:sh -c 'echo {url}'"
    [[ $output == *'{url} would be code in there'* ]]
    run -2 "$BIN/uploader" --at "$AT" "exec:true 'x"
    [[ $output == *"a quote (') is not closed"* ]]
    for option in --fsync --overwrite; do
        run -2 "$BIN/uploader" --at "$AT" $option exec:true
        [[ $output == *"$option: "*"the command's to decide"* ]]
    done
    run -0 "$BIN/uploader" --help
    [[ $output == *$'\n  exec:COMMAND '*$'\nexec:COMMAND\n'*--timeout* ]]
}

@test "a command that is gone in mid-run is waited for: no try is counted" {
    start_origin
    put_script
    start_uploader -j 2 'exec:./put {key}'
    start_fetcher
    endless_list 1000 "?wait=20&$PAD"
    feed --window 50 list > manifest 3>&- & local feeder=$!
    PIDS+=($feeder)
    until_true 20 lines_at_least 20 manifest
    mv put away
    until_true 30 grep -q './put cannot be started: No such file or directory' uploader.log
    mv away put
    touch enough
    wait $feeder
    check_run urls manifest
    # But of those whose shell was just about to read it.
    [ "$(jq -r 'select(.tries > 1) | .id' manifest | wc -l)" -le 2 ]
    [ "$(grep -c 'cannot be started' uploader.log)" -le 3 ]
}

@test "a file that is no program is said, once" {
    start_origin
    echo 'no line with #!' > odd
    chmod +x odd
    start_uploader exec:./odd
    start_fetcher
    make_list 20 100 > urls
    feed urls > manifest 3>&- & local feeder=$!
    PIDS+=($feeder)
    until_true 30 grep -q 'Exec format error (a script begins with a line such as' uploader.log
    kill $feeder $feeder
    [ "$(grep -c 'cannot be started' uploader.log)" -eq 1 ]
}

@test "kill -9 of the uploader in mid-run: all its commands end; every line once" {
    start_origin
    put_script
    sleeper
    script slow << END
"$T/sleeper" 0.05 & wait
[ -e quick ] || "$T/sleeper" 1000
./put "\$1"
END
    make_list 200 1000 > urls
    start_uploader -j 8 'exec:./slow {key}'
    start_fetcher
    feed urls > manifest 3>&- & local feeder=$!
    PIDS+=($feeder)
    local round
    for round in 1 2 3; do
        until_true 30 some_sleep
        kill -9 "$UPLOADER"
        until_true 20 none_sleeps
        [ $round -lt 3 ] || touch quick
        start_uploader -j 8 'exec:./slow {key}'
    done
    wait $feeder
    check_run urls manifest
}

@test "TERM lets commands finish; a second one ends them" {
    start_origin
    put_script
    sleeper
    script slow << END
"$T/sleeper" 0.3
[ ! -e hang ] || "$T/sleeper" 1000
./put "\$1"
END
    make_list 60 1000 '?wait=200' > urls
    start_uploader -j 4 'exec:./slow {key}'
    local first=$UPLOADER
    start_fetcher -j 2
    feed urls > manifest 3>&- & local feeder=$!
    PIDS+=($feeder)
    until_true 20 lines_at_least 4 manifest
    start_uploader -j 4 'exec:./slow {key}'
    kill "$first"
    wait "$first"
    [ "$(grep -c 'was stopped' manifest)" -eq 0 ]
    touch hang
    until_true 20 pgrep -f "$T/sleeper 1000" > /dev/null
    : > uploader.log # the first has said it there; and two signals at once may be one
    local began=$EPOCHREALTIME
    kill "$UPLOADER"
    until_true 5 grep -q 'stopping: finishing' uploader.log
    kill "$UPLOADER"
    until_true 5 ended "$UPLOADER"
    [ $(((${EPOCHREALTIME/./} - ${began/./}) / 1000)) -le $((2500 + ${SLACK_MS:-1500})) ]
    until_true 5 none_sleeps
    rm hang
    start_uploader -j 8 'exec:./slow {key}'
    wait $feeder
    check_run urls manifest
    [ "$(jq -r .tries manifest | sort -u)" = 1 ]
}

# at_most COUNT NAME: so many of the uploader's descriptors are of that name.
at_most() { [ "$(find "/proc/$UPLOADER/fd" -lname "$2" | wc -l)" -le "$1" ]; }

@test "a command has three descriptors, no signal blocked or ignored, a group of its own" {
    start_origin
    script look << 'END'
fds=
for fd in {0..255}; do [ ! -e /proc/$$/fd/$fd ] || fds+=" $fd"; done
echo $fds >> fds
ulimit -n >> limits
sed -nE 's/^Sig(Blk|Ign):\s*//p' /proc/self/status >> signals # bash ignores one itself
[ "$(ps -o pgid= -p $$ | tr -d ' ')" = $$ ] || echo another >> groups
echo own >> groups
END
    ulimit -Sn 700
    start_uploader --stay -j 8 'exec:./look'
    make_list 200 10 > urls
    start_fetcher
    feed urls > manifest
    local before after
    before=$(find "/proc/$UPLOADER/fd" -type l | wc -l)
    [ "$(sort -u fds)" = "0 1 2 255" ] # 255 is bash's, on the script
    local ignored
    for ignored in $(sort -u signals); do
        [ $((0x$ignored & ~0x180000000)) -eq 0 ] # but for 32 and 33, which are the C library's own
    done
    [ "$(sort -u groups)" = own ]
    [ "$(wc -l < groups)" -ge 200 ] # more where a busy machine let a lease lapse
    [ "$(sort -u limits)" = 700 ]
    start_fetcher
    feed urls > manifest
    after=$(find "/proc/$UPLOADER/fd" -type l | wc -l)
    echo "# descriptors: $before, $after" >&3
    until_true 10 at_most $((before + 2)) '*' # the last fetcher's sockets may still be closing
    until_true 10 at_most 3 'pipe:*'
    until_true 10 at_most 0 '*pidfd*'
}

@test "README: uploader 'exec:scripts/examples/gzip-store out {key}'" {
    start_origin
    ln -s "$BATS_TEST_DIRNAME/../../scripts" scripts
    local dest="'exec:scripts/examples/gzip-store out {key}'"
    grep -qF "uploader $dest" "$BATS_TEST_DIRNAME/../../README.md"
    mkdir out
    eval "start_uploader $dest"
    start_fetcher
    make_list 100 5000 > urls
    feed urls > manifest
    gunzip -r out
    check_run urls manifest
    [ "$(find out -name '.*' | wc -l)" -eq 0 ]
}
