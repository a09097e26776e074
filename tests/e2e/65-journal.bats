#!/usr/bin/env bats
bats_require_minimum_version 1.5.0
load helpers
load journal

# list_until COUNT DONE BYTES [QUERY]: COUNT lines, of which those after the first DONE are answered once
# there is a file `enough`: so no feeder of it has ended by itself when it is to be killed.
list_until() {
    make_list "$2" "$3" "?${4:-}"
    seq -f "$BASE/-/bytes/$3/%.0f?until=enough${4:+&$4}" $(($2 + 1)) "$1"
}

# killed_after LINES: waits until the manifest has so many, then kills the feeder.
killed_after() {
    until_true 30 lines_at_least "$1" j/manifest.jsonl
    kill_feeder
}

@test "the feeder killed in mid-run: the same command goes on, and nothing is fetched twice" {
    start_origin
    list_until 1500 1000 2000 wait=40 > urls
    start_uploader dir:out
    start_fetcher -j 15
    start_fetcher -j 15
    start_feeder urls; killed_after 300
    start_feeder urls; killed_after 600
    start_feeder urls; killed_after 900
    touch enough
    start_feeder urls
    ends 40 0
    check_run urls j/manifest.jsonl
    echo "# $(requests) requests for 1500 lines" >&3
    [ "$(requests)" -eq 1500 ]
    workers_end 0
    [ ! -s j/failed ]
}

@test "answers slower than the claims, bodies of many chunks, two uploaders: fetched once" {
    start_origin
    { make_list 60 100000 '?wait=2000'; make_list 80 100001 '?rate=60000'
      make_list 10 100002 '?until=enough'; } > urls
    start_uploader dir:out
    start_uploader dir:out
    start_fetcher -j 60 --chunk-size 16k
    start_feeder urls
    until_true 20 requested 60
    kill_feeder
    start_feeder urls
    until_true 30 requested 100
    kill_feeder
    touch enough
    start_feeder urls
    ends 60 0
    check_run urls j/manifest.jsonl
    echo "# $(requests) requests for 150 lines" >&3
    [ "$(requests)" -eq 150 ]
}

@test "feeder and workers killed, all started anew: every line once" {
    start_origin
    list_until 4000 2000 1000 wait=20 > urls
    for round in 1 2; do
        start_fetcher -j 50
        start_feeder urls
        start_uploader dir:out
        until_true 30 lines_at_least $((round * 700)) j/manifest.jsonl
        kill -9 "$FEEDER" "$FETCHER" "$UPLOADER"
        wait "$FEEDER" "$FETCHER" "$UPLOADER" || :
    done
    touch enough
    start_feeder urls
    start_uploader dir:out
    start_fetcher -j 50
    ends 30 0
    check_run urls j/manifest.jsonl
    workers_end 0
}

@test "killed again at once, each time it is started: every line once" {
    start_origin
    list_until 2500 1500 1000 wait=50 > urls
    start_uploader dir:out
    start_fetcher -j 50
    start_feeder --window 200 urls; killed_after 200
    for _ in 1 2 3; do
        start_ready_feeder --window 200 urls
        kill_feeder
    done
    start_feeder --window 200 urls; killed_after 700
    # With a smaller window it does not read at once what the last one had.
    start_feeder --window 20 urls; killed_after 750
    start_feeder urls; killed_after 1000
    touch enough
    start_feeder --window 50 urls
    ends 30 0
    check_run urls j/manifest.jsonl
}

@test "a run goes on into its own DEST only" {
    start_origin
    list_until 500 300 1000 wait=20 > urls
    start_uploader dir:out; local mine=$UPLOADER
    start_fetcher -j 10
    start_feeder urls; killed_after 1
    touch enough
    kill -9 "$mine"
    start_uploader dir:other
    start_feeder urls
    local status=0
    wait "$UPLOADER" || status=$?
    [ $status -eq 2 ]
    grep -q "this run stores into dir:" uploader.log
    start_uploader dir:out
    ends 30 0
    check_run urls j/manifest.jsonl
    [ -z "$(find other -type f)" ]
}

@test "a DEST with a line feed: a killed run goes on as the same run, and into that DEST only" {
    local dest=$'dir:out\nside\\n' run_line
    start_origin
    list_until 500 300 1000 wait=20 > urls
    start_uploader "$dest"; local mine=$UPLOADER
    start_fetcher -j 10
    start_feeder urls; killed_after 1
    touch enough
    run_line=$(grep '^run ' j/checkpoint)
    kill -9 "$mine"
    start_uploader dir:other
    start_feeder urls
    local status=0
    wait "$UPLOADER" || status=$?
    [ $status -eq 2 ]
    start_uploader "$dest"
    ends 30 0
    [ "$(grep '^run ' j/checkpoint)" = "$run_line" ]
    run ! grep 'reading all of the manifest' feeder.log
    mv "${dest#dir:}" out
    check_run urls j/manifest.jsonl
}

@test "INT and TERM: drained, status 3, and the same command finishes" {
    start_origin
    # Neither signal finds the run over: each is waited for by lines of its own.
    { make_list 700 1000 '?wait=40'; make_list 600 1001 '?until=INT&wait=40'
      make_list 700 1002 '?until=TERM&wait=40'; } > urls
    local signal
    for signal in INT TERM; do
        start_uploader dir:out
        start_fetcher -j 20
        : > feeder.log
        start_feeder urls
        until_true 30 lines_at_least $(($(lines j/manifest.jsonl) + 300)) j/manifest.jsonl
        kill -$signal "$FEEDER"
        until_true 10 grep -q 'again: now' feeder.log
        touch $signal
        ends 10 3
        tail -n 1 feeder.log | grep -Eq '[0-9]+ fed = [0-9]+ delivered \+ 0 failed \+ [1-9][0-9]* open'
        workers_end 0
    done
    run ! grep '"open"' j/manifest.jsonl
    start_uploader dir:out
    start_fetcher
    start_feeder urls
    ends 30 0
    tail -n 1 feeder.log | grep -q '2000 fed = 2000 delivered + 0 failed + 0 open'
    check_run urls j/manifest.jsonl
    [ "$(requests)" -eq 2000 ]
}

@test "INT twice: at once, status 3, and the same command finishes with workers that stayed" {
    start_origin
    make_list 400 1000 '?until=enough' > urls
    start_uploader --stay dir:out
    start_fetcher --stay -j 400
    start_feeder urls
    until_true 20 requested 50
    kill -INT "$FEEDER"
    until_true 10 grep -q 'again: now' feeder.log
    kill -INT "$FEEDER"
    ends 10 3
    start_feeder urls
    touch enough
    ends 30 0
    check_run urls j/manifest.jsonl
}

@test "a finished journal says so, with status 0, and its workers end" {
    start_origin
    { make_list 20 1000; make_list 3 10 '?status=404'; } > urls
    start_uploader dir:out
    start_fetcher
    start_feeder urls
    ends 20 1
    workers_end 0
    sha256sum j/* > before
    start_uploader dir:out
    start_fetcher
    until_true 10 workers_listen 2 # for the feeder is not there for long
    local began=$EPOCHREALTIME
    start_feeder --lease 3 urls
    ends 10 0
    local ms=$(((${EPOCHREALTIME/./} - ${began/./}) / 1000))
    echo "# ended after $ms ms" >&3
    [ $ms -lt 3000 ]
    grep -q 'finished already' feeder.log
    tail -n 1 feeder.log | grep -q '23 fed = 20 delivered + 3 failed + 0 open'
    workers_end 0
    sha256sum --quiet -c before
    [ "$(requests)" -eq 23 ]
}

@test "2,000,000 lines: going on reads what is left, not what is done" {
    start_origin
    { seq -f '# a line that is only there to be long, number %.0f' 2000000; list_until 1500 1000 10 wait=40; } > urls
    start_uploader null:
    start_fetcher -j 20
    start_feeder --window 200 urls
    until_true 30 lines_at_least 200 j/manifest.jsonl
    until_true 10 checkpoint_beyond 100000000
    kill_feeder
    local began=$EPOCHREALTIME bytes
    start_ready_feeder urls
    local ms=$(((${EPOCHREALTIME/./} - ${began/./}) / 1000))
    bytes=$(awk '$1 == "rchar:" { print $2 }' "/proc/$FEEDER/io")
    echo "# ready after $ms ms and $bytes bytes of the list's $(stat -c %s urls)" >&3
    [ "$bytes" -lt 2000000 ]
    [ $ms -lt 3000 ]
    touch enough
    ends 30 0
    [ "$(jq -r .url j/manifest.jsonl | sort -u | wc -l)" -eq 1500 ]
    [ "$(lines j/manifest.jsonl)" -eq 1500 ]
}

@test "a journal of another list, of a changed one, or not ours: status 5, in words, untouched" {
    no_workers_journal
    refused 'not the list' urls-edited
    echo http://127.0.0.1:1/more >> urls
    refused 'not the list' urls
    cp -p urls.kept urls
    sed -i 's,/7$,/8,' urls; touch -r urls.kept urls
    refused 'not the list' urls
    cp -p urls.kept urls
    refused 'began with 1 lists' urls urls
    refused 'began with 1 lists' urls-edited urls
    refused 'not the list' - < urls-edited
    refused 'not the list' - < <(cat urls)
    refused 'is a directory' .

    start_ready_feeder --at "ipc://$T/another" urls
    until_true 20 checkpoint_has_list 1
    until_true 20 checkpoint_is_quiet
    refused 'another feeder is using' urls
    kill_feeder

    cp -r j kept
    sed -i '1s/1$/2/' j/checkpoint
    refused 'later version' urls
    rm -r j; cp -r kept j
    truncate -s 100 j/manifest.jsonl
    echo http://127.0.0.1:1/x >> j/failed
    refused 'put it back' urls
    : > j/manifest.jsonl
    refused 'put it back' urls
    rm j/manifest.jsonl
    run -5 "$BIN/feeder" --at "$AT" --journal j urls
    [[ $output == *"put it back"* ]]

    rm -r j; mkdir j; echo mine > j/notes
    refused 'is no journal and not empty' urls
    rm -r j; echo mine > j
    run -5 "$BIN/feeder" --at "$AT" --journal j urls
    [[ $output == *"j: "* ]]
    run -5 "$BIN/feeder" --at "$AT" --journal no/such/j urls
    [[ $output == *"no/such/j: No such file"* ]]
}

@test "two lists in another order are refused" {
    seq -f 'http://127.0.0.1:1/%.0f' 300 > urls
    seq -f 'http://127.0.0.1:2/%.0f' 300 > urls-b
    no_workers_journal urls urls-b
    refused 'not the list' urls-b urls
    refused 'began with 2 lists' urls
}

# touched NAME [FILE]: a list of this name, or FILE on stdin, is touched; the advice is followed.
touched() {
    local name=$1 file=${2:-$1}
    rm -rf j
    seq -f 'http://127.0.0.1:1/%.0f' 1000 > "$file"
    touch -d '2024-10-27T00:30:00.123456789Z' "$file" # an hour that Berlin has twice
    if [ "$name" = - ]; then exec 5< "$file"; else exec 5< /dev/null; fi
    start_feeder --window 50 "$name" <&5
    until_true 10 checkpoint_beyond 1
    kill_feeder
    touch "$file"
    if [ "$name" = - ]; then exec 5< "$file"; fi
    refused 'touch -d' "$name" <&5
    sed -n 's/.*: \(touch -d .*\); else.*/\1/p' <<< "$output" > advice
    sed -i "s/LIST/$file/" advice
    bash advice
    if [ "$name" = - ]; then exec 5< "$file"; fi
    start_ready_feeder "$name" <&5
    kill_feeder
    exec 5<&-
}

@test "a list that was only touched: the message says what to run, and then it goes on" {
    export TZ=Europe/Berlin
    touched urls
    touched "it's a list"
    touched - urls
}

@test "a list from a pipe goes on with the same stream, and with no other" {
    start_origin
    list_until 2000 900 1000 wait=40 > urls
    start_uploader dir:out
    start_fetcher -j 50
    start_feeder --window 200 < <(cat urls)
    until_true 20 lines_at_least 200 j/manifest.jsonl
    until_true 10 checkpoint_beyond 10000
    kill_feeder
    start_feeder --window 200 < <(cat urls); killed_after 900
    # No outcome is on its way to those that refuse.
    JUDGED_LATE=1 refused 'not the stream' < <(sed 's,/7?,/7777?,' urls)
    JUDGED_LATE=1 refused 'not the stream' < <(head -n 100 urls)
    JUDGED_LATE=1 refused 'not the stream' < /dev/null
    refused 'not the list' urls
    touch enough
    start_feeder --window 200 < <(cat urls)
    ends 30 0
    check_run urls j/manifest.jsonl
    echo "# $(requests) requests for 2000 lines" >&3
}

@test "a stream that had been read to its end is judged too, beside the run" {
    start_origin
    list_until 100 50 1000 wait=400 > urls
    sed 's,/7?,/8?,' urls > other
    start_uploader dir:out
    start_fetcher -j 10
    start_feeder < <(cat urls)
    until_true 20 lines_at_least 50 j/manifest.jsonl # and no outcome is on its way
    until_true 10 checkpoint_beyond 1000
    kill_feeder
    JUDGED_LATE=1 refused 'not the stream' < <(cat other)
    JUDGED_LATE=1 refused 'not the stream' < <(head -n 99 urls)
    JUDGED_LATE=1 refused 'not the stream' < <(cat urls urls)
    JUDGED_LATE=1 refused 'not the stream' < /dev/null
    touch enough
    start_feeder < <(cat urls)
    ends 20 0
    check_run urls j/manifest.jsonl
    start_feeder < <(cat urls)
    ends 10 0
}

@test "two streams and a file, killed in each: every line once" {
    start_origin
    local i part
    for i in 1 2 3; do
        { make_list 100 $((1000 + i)) '?wait=40'; make_list 100 $((1010 + i)) "?wait=40&until=killed$i"; } > part$i
    done
    cat part? > urls
    mkfifo one
    start_uploader dir:out
    start_fetcher -j 10
    for part in 50 250 450; do
        cat part1 > one & PIDS+=($!)
        start_feeder --window 50 one part2 - < <(cat part3)
        killed_after $part
        touch killed$((part / 200 + 1))
    done
    cat part1 > one & PIDS+=($!)
    start_feeder --window 50 one part2 - < <(cat part3)
    ends 20 0
    check_run urls j/manifest.jsonl
}

@test "after the end of a pipe the feeder sleeps" {
    start_origin
    make_list 10 100 '?until=enough' > urls
    start_uploader dir:out
    start_fetcher -j 10
    start_feeder < <(cat urls; exec sleep 0.5)
    until_true 10 requested 10
    until_true 20 checkpoint_has_list 1
    local before after
    before=$(awk '{ print $14 + $15 }' "/proc/$FEEDER/stat")
    read -rt 1 <> <(:) || :
    after=$(awk '{ print $14 + $15 }' "/proc/$FEEDER/stat")
    [ $((after - before)) -lt 30 ]
    touch enough
    ends 10 0
}

@test "a stream that is late: INT before it comes, status 3, and nothing is lost" {
    start_origin
    list_until 2000 1000 1000 wait=40 > urls
    start_uploader dir:out
    start_fetcher -j 50
    start_feeder --window 200 < <(cat urls)
    until_true 20 lines_at_least 500 j/manifest.jsonl
    kill_feeder
    touch enough
    mkfifo late
    exec {late}<> late
    start_ready_feeder --window 200 < late
    kill -INT "$FEEDER"
    ends 10 3
    start_ready_feeder --window 200 < late
    head -n 400 urls >&$late
    kill_feeder
    exec {late}>&-
    start_uploader dir:out
    start_fetcher -j 50
    start_feeder < <(cat urls)
    ends 20 0
    check_run urls j/manifest.jsonl
}

@test "a FIFO that has no writer yet: INT ends the feeder, status 3; then one comes, and goes on" {
    start_origin
    make_list 100 1000 > urls
    mkfifo fifo
    start_ready_feeder fifo
    kill -INT "$FEEDER"
    ends 10 3
    start_ready_feeder fifo
    timeout 10 cat urls > fifo 3>&- & PIDS+=($!)
    start_uploader dir:out
    start_fetcher
    ends 20 0
    check_run urls j/manifest.jsonl
}

@test "stdin as a file, begun behind its start: goes on where it was" {
    start_origin
    list_until 2000 1000 1000 wait=20 > urls
    { echo 'a line that is the shell'\''s'; cat urls; } > file
    start_uploader dir:out
    start_fetcher -j 20
    from_file() { { read -r _; start_feeder --window 100; } < file; }
    from_file
    until_true 20 lines_at_least 200 j/manifest.jsonl
    until_true 10 checkpoint_beyond 5000
    kill_feeder
    touch enough
    from_file
    ends 20 0
    check_run urls j/manifest.jsonl
}

# flipped FILE SEED FROM BYTES: flips one bit of each so many bytes of FILE from FROM on.
flip() {
    local file=$1 at=$(($3 + $2 * 7919 % $4)) byte
    byte=$(od -An -tu1 -j $at -N 1 "$file")
    printf "\\x$(printf %x $((byte ^ (1 << ($2 % 7)))))" |
        dd of="$file" bs=1 seek=$at conv=notrunc status=none
}

# A journal of a run that was killed, in `kept`; its workers stay for what follows. `kept/early` is
# a checkpoint of long before the manifest's end.
killed_journal() {
    start_origin
    { make_list 100 1000 '?wait=100&times=1'; make_list 100 1001 '?until=seen&wait=100&times=1'
      make_list 100 1002 '?until=killed'; make_list 30 10 '?status=404'; } > urls
    start_uploader --stay dir:out
    start_fetcher --stay -j 10
    start_feeder --window 60 urls
    until_true 20 lines_at_least 50 j/manifest.jsonl
    until_true 10 checkpoint_beyond 1
    cp j/checkpoint early
    touch seen
    killed_after $(($(lines j/manifest.jsonl) + 60))
    touch killed
    cp -r j kept
    mv early kept/
}

# goes_on WHAT: the journal, spoilt in a way, is gone on with rightly, or refused in words.
goes_on() {
    local status=0
    rm -f j/early
    timeout 60 "$BIN/feeder" --at "$AT" --lease 1 --journal j urls > /dev/null 2> one.log 3>&- || status=$?
    echo "# $1: status $status$(sed -n '1s/^[^:]*: /, /p' one.log | cut -c 1-100)" >&3
    if [ $status -eq 5 ]; then
        [ -s one.log ]
        return
    fi
    [ $status -eq 1 ]
    [ "$(lines j/manifest.jsonl)" -eq 330 ]
    diff <(sort urls) <(jq -r .url j/manifest.jsonl | sort)
    diff <(jq -r 'select(.status == "failed").url' j/manifest.jsonl | sort) <(sort j/failed)
    jq -r 'select(.status == "delivered") | "\(.sha256)  out/\(.key)"' j/manifest.jsonl > sums
    sha256sum --quiet -c sums
}

again() { rm -rf j; cp -r kept j; }

@test "a spoilt checkpoint: all of the manifest is read instead, or it is refused in words" {
    killed_journal
    local size
    size=$(stat -c %s kept/checkpoint)
    for cut in 0 100 $((size - 1)); do
        again; truncate -s $cut j/checkpoint
        goes_on "checkpoint cut to $cut of $size bytes"
    done
    again; truncate -s 0 j/checkpoint; truncate -s "$size" j/checkpoint
    goes_on "checkpoint zeroed"
    again; rm j/checkpoint; echo rest > j/checkpoint.tmp
    goes_on "checkpoint missing"
    again; rm j/checkpoint; mkdir j/checkpoint
    goes_on "checkpoint a directory"
    [ -d j ]
    for seed in 1 2; do
        again; flip j/checkpoint $seed 0 "$size"
        goes_on "checkpoint with bit flip $seed"
    done
    again; head -c 50000 /dev/zero > j/checkpoint.tmp
    goes_on "checkpoint.tmp left over"
}

@test "a spoilt end of the manifest: what is not whole is fetched again" {
    killed_journal
    local size from
    size=$(stat -c %s kept/manifest.jsonl)
    from=$(awk '$1 == "manifest" { print $2 }' kept/early)
    [ "$from" -lt "$size" ]
    old() { again; cp j/early j/checkpoint; }
    old; truncate -s -17 j/manifest.jsonl
    goes_on "a torn last line"
    old; truncate -s -5000 j/manifest.jsonl; truncate -s "$size" j/manifest.jsonl
    goes_on "an end of zeros"
    old; head -c 3000 /dev/urandom >> j/manifest.jsonl
    goes_on "an end of noise"
    old; printf '{"id":7,"url":"http://x/","status":"delivered","size_download":1}\n' >> j/manifest.jsonl
    goes_on "a line of another run"
    old; printf '{"id":100000,"url":"http://x/","status":"delivered","size_download":1}\n' >> j/manifest.jsonl
    goes_on "a line beyond the list"
    old; tail -n 3 kept/manifest.jsonl >> j/manifest.jsonl
    goes_on "lines that come twice"
    # In what the restart goes by: number, URL, status.
    local count
    count=$(lines kept/manifest.jsonl)
    for seed in 1 2 3; do
        again; rm j/checkpoint
        local line=$((seed * count / 5)) at
        at=$(head -n $line j/manifest.jsonl | wc -c)
        flip j/manifest.jsonl $seed "$at" 70
        goes_on "bit flip $seed in line $((line + 1))"
    done
}

@test "a directory that may not be written: status 5, in words" {
    [ "$(id -u)" -eq 0 ] || skip "root only"
    no_workers_journal
    chmod 755 . ; chmod 700 j
    run -5 setpriv --reuid=65534 --regid=65534 --clear-groups "$BIN/feeder" --at "$AT" --journal j urls
    [[ $output == *"j: Permission denied"* ]]
    chmod 755 j
    run -5 setpriv --reuid=65534 --regid=65534 --clear-groups "$BIN/feeder" --at "$AT" --journal j urls
    [[ $output == *"j/lock: Permission denied"* ]]
}

@test "failed: the URLs of failed lines, a list as it is; --retry-failed, by class" {
    start_origin
    { make_list 20 1000; make_list 5 10 '?status=404&times=1'; make_list 5 11 '?reset=5&times=1'
      echo 'ftp://x/y'; printf 'http://a b/\n%s/tab\there\n' "$BASE"
      printf '%s/%0*d\n' "$BASE" 17000 1; } > urls
    start_uploader --stay dir:out
    start_fetcher --stay
    start_feeder --retry 0 urls
    ends 20 1
    jq -r 'select(.status == "failed").url' j/manifest.jsonl | cmp - j/failed
    [ "$(lines j/failed)" -eq 14 ]

    # By class, from the journal and from a manifest on stdout.
    run -0 "$BIN/feeder" --at "$AT" --journal j2 --retry-failed j --class http
    [[ $output == *"5 fed = 5 delivered"* ]]
    run -1 "$BIN/feeder" --at "$AT" --retry-failed j/manifest.jsonl --class cut,connect,input
    [[ $output == *"9 fed = 5 delivered + 4 failed"* ]]
    # The list as it is: what is no URL is none again.
    run -1 "$BIN/feeder" --at "$AT" j/failed
    [[ $output == *"14 fed = 10 delivered + 4 failed"* ]]
    run -1 "$BIN/feeder" --at "$AT" --retry-failed j
    [[ $output == *"14 fed = 10 delivered + 4 failed"* ]]
}

@test "--retry-failed goes on too, and --class with it" {
    start_origin
    touch enough
    list_until 300 200 10 'status=500&times=1' > urls
    start_uploader --stay dir:out
    start_fetcher --stay -j 5
    start_feeder --retry 0 urls
    ends 30 1
    mv j first
    rm enough
    start_feeder --window 20 --retry-failed first --class http
    until_true 20 lines_at_least 50 j/manifest.jsonl
    kill_feeder
    touch enough
    start_feeder --window 20 --retry-failed first --class http
    ends 30 0
    check_run urls j/manifest.jsonl
}

@test "workers are heard while the long manifest of an earlier run is passed over" {
    start_origin
    awk -v base="$BASE" 'BEGIN {
        for (i = 1; i <= 1000000; i++) printf "{\"id\":%d,\"url\":\"%s/%d\",\"status\":\"delivered\"," \
            "\"key\":\"7a/7a2ce16d4cd13c3a7bd2f3b8ffdb20e7\",\"size_download\":1}\n", i, base, i
        printf "{\"id\":%d,\"url\":\"%s/-/bytes/9/a\",\"status\":\"failed\",\"class\":\"http\"}\n", i, base
    }' > earlier
    : > ready
    timeout 60 "$BIN/feeder" --at "$AT" --lease 2 --retry-failed earlier --ready-fd 4 \
        > manifest 2> feeder.log 3>&- 4> ready & FEEDER=$!
    PIDS+=("$FEEDER")
    until_true 10 test -s ready # it listens, and reads
    start_uploader --wait 1 dir:out
    start_fetcher --wait 1
    ends 60 0
    grep -q '1 fed = 1 delivered' feeder.log
}

@test "bad uses of --retry-failed and --class: status 2" {
    no_workers_journal
    run -2 "$BIN/feeder" --at "$AT" --journal j --retry-failed j
    [[ $output == *"another --journal"* ]]
    run -2 "$BIN/feeder" --at "$AT" --journal j --retry-failed ./j/../j
    run -2 "$BIN/feeder" --at "$AT" --retry-failed j urls
    run -2 "$BIN/feeder" --at "$AT" --class http urls
    run -5 "$BIN/feeder" --at "$AT" --retry-failed nothing
    [[ $output == *nothing* ]]
    run -5 "$BIN/feeder" --at "$AT" --joblog no/such/log urls
    [[ $output == *"no/such/log"* ]]
}

@test "--joblog: nine columns, the header once, one line for each settled" {
    start_origin
    { list_until 1500 300 1000 wait=20; make_list 9 10 '?status=404'; echo nothing; } > urls
    start_uploader dir:out
    start_fetcher -j 20
    start_feeder --joblog log urls
    # Killed when all that is in the manifest is in the log too, which is written later.
    until_true 30 lines_at_least 301 j/manifest.jsonl
    until_true 10 lines_at_least 302 log
    kill_feeder
    touch enough
    truncate -s -3 log
    start_feeder --joblog log urls
    ends 30 1
    [ "$(lines log)" -eq 1511 ]
    awk -F'\t' 'NF < 9 || $9 !~ /^(http:.*(=20|=404)|nothing)$/' log | grep -v ^Seq > torn || :
    [ "$(lines torn)" -eq 1 ]
    grep -vxFf torn log > whole; mv whole log
    [ "$(grep -c '^Seq' log)" -eq 1 ]
    head -n 1 log | grep -qP '^Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand$'
    awk -F'\t' 'NF != 9 { exit 1 }
        NR > 1 && !($1 ~ /^[0-9]+$/ && $2 != "" && $3 ~ /^ *[0-9]+\.[0-9]+$/ &&
                    $4 ~ /^ *[0-9]+\.[0-9]+$/ && $5 $6 $8 ~ /^[0-9]+$/ && $7 ~ /^[01]$/) { exit 1 }' log
    [ "$(tail -n +2 log | cut -f 9 | sort -u | wc -l)" -eq 1509 ]
    [ -z "$(tail -n +2 log | cut -f 9 | sort | comm -13 <(sort urls) -)" ]
    [ "$(tail -n +2 log | awk -F'\t' '$7 == 1' | wc -l)" -eq 10 ]
}

@test "sluice --journal: INT, and the same command finishes" {
    local sluice=$BATS_TEST_DIRNAME/../../scripts/sluice status=0
    start_origin
    list_until 2000 1000 1000 wait=20 > urls
    export XDG_RUNTIME_DIR=$T SLUICE_BIN=$BIN
    setsid env --default-signal=INT "$sluice" -f 2 -j 10 --lease 1 --allow-net loopback --journal j urls dir:out \
        > stdout 2> log < /dev/null 3>&- & local pid=$!
    PIDS+=($pid)
    until_true 30 lines_at_least 500 j/manifest.jsonl
    kill -INT $pid
    until_true 10 grep -q 'again: now' log
    touch enough
    wait $pid || status=$?
    [ $status -eq 3 ]
    run -0 timeout 40 "$sluice" -f 2 --lease 1 --allow-net loopback --journal j urls dir:out 3>&-
    [[ $output == *"2000 fed = 2000 delivered + 0 failed + 0 open"* ]]
    [ ! -s stdout ]
    check_run urls j/manifest.jsonl
    [ "$(requests)" -eq 2000 ]
}

@test "a directory in which a power cut left one empty file of a new journal is a new journal" {
    local name
    for name in failed checkpoint.tmp lock manifest.jsonl; do
        rm -rf j && mkdir j && : > j/$name
        : > urls
        run -0 "$BIN/feeder" --at "$AT" --journal j urls
    done
}
