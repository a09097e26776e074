#!/usr/bin/env bats
# pipe:COMMAND: long-lived processes that are given framed objects, whatever they do.
bats_require_minimum_version 1.5.0
load helpers

# program NAME: a Python program that has frames() and answer(), from stdin.
program() {
    {
        cat << 'END'
#!/usr/bin/env python3
import json, os, signal, sys, time

def frames():
    while line := sys.stdin.buffer.readline():
        facts = json.loads(line)
        body = sys.stdin.buffer.read(facts["bytes"])
        if len(body) == facts["bytes"]:
            yield facts, body

def answer(facts, status="stored", **more):
    print(json.dumps({"id": facts["id"], "status": status, **more}), flush=True)

def put(facts, body):
    path = "out/" + facts["key"]
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temp = f"out/.{facts['attempt']}"
    open(temp, "wb").write(body)
    os.rename(temp, path)

# How often this object came, this time included.
def tries(facts):
    with open(f"tries-{facts['id']}", "a+") as f:
        f.write("x")
        f.flush()
        return f.tell()

END
        cat
    } > "$1"
    chmod +x "$1"
}

feed() { "$BIN/feeder" --at "$AT" --lease 1 --retry-delay 0.05 "$@" 2> ledger; }
none_runs() { ! pgrep -f "$T/store" > /dev/null; }
of() { jq -r "select(.url | endswith(\"$1\")) | $2" manifest; }

@test "bodies arrive byte for byte, empty and large ones; facts are in the frame, place is kept" {
    start_origin
    program store << 'END'
open(f"started-{os.getpid()}", "w")
for facts, body in frames():
    put(facts, body)
    json.dump(facts, open(f"facts-{facts['id']}", "w"))
    answer(facts, place=f"shelf {facts['id']}", more=[1])
open(f"ended-{os.getpid()}", "w")
END
    start_uploader -j 3 "pipe:$T/store"
    start_fetcher
    {
        make_list 300 3000
        echo "$BASE/-/bytes/0/empty"
        echo "$BASE/-/bytes/20000000/large"
        echo "$BASE/-/bytes/70/\"odd\\?hop=2"
    } > urls
    feed urls > manifest
    check_run urls manifest
    diff <(jq -cS '{id, key, url, url_effective, content_type, response_code, sha256,
        bytes: .size_download, digest: ("sha256:" + .sha256)}' manifest | sort) \
        <(cat facts-* | jq -cS 'del(.attempt)' | sort)
    [ "$(cat facts-* | jq -r '.attempt | strings' | grep -Exc "[0-9a-f]{32}")" -eq 303 ]
    [ "$(cat facts-* | jq -r .attempt | sort -u | wc -l)" -eq 303 ]
    [ "$(jq -r 'select(.id == 7) | .place' manifest)" = 'shelf 7' ]
    wait "$UPLOADER"
    none_runs
    local started=(started-*) ended=(ended-*)
    [ ${#started[@]} -le 3 ]
    [ ${#ended[@]} -eq ${#started[@]} ] # stdin's end was seen
}

@test "processes that die get the object again; one that kills each fails, alone" {
    start_origin
    program store << 'END'
for n, (facts, body) in enumerate(frames()):
    if n == 20 or "poison" in facts["url"]:
        sys.exit(3)
    put(facts, body)
    if n == 10:
        os.kill(os.getpid(), signal.SIGKILL)
    answer(facts)
END
    start_uploader -j 2 "pipe:$T/store"
    start_fetcher
    { make_list 300 1000; echo "$BASE/-/bytes/10/poison"; } > urls
    feed --retry 1 urls > manifest && false
    check_run urls manifest
    [ "$(grep -c delivered manifest)" -eq 300 ]
    [ "$(jq -r 'select(.status == "delivered") | .tries' manifest | sort -u)" = 1 ]
    [ "$(of poison '"\(.class) \(.tries) \(.errormsg)"')" = "store 2 the command ended, or closed \
its stdin, 3 times before it had answered (exit status 3)" ]
    until_true 10 none_runs
}

@test "its verdicts: again, failed, stored; detail is one clean line" {
    start_origin
    program store << 'END'
for facts, body in frames():
    if "again" in facts["url"] and tries(facts) == 1:
        answer(facts, "again", detail="not now")
    elif "never" in facts["url"]:
        answer(facts, "again", detail=" two\n lines\x01é" + "x" * 5000)
    elif "failed" in facts["url"]:
        answer(facts, "failed", detail="no good")
    elif "silent" in facts["url"]:
        answer(facts, "failed")
    else:
        answer(facts)
END
    start_uploader "pipe:$T/store"
    start_fetcher
    for how in again never failed silent stored; do echo "$BASE/-/bytes/1000/$how"; done > urls
    feed --retry 1 urls > manifest && false
    [ "$(of again '"\(.status) \(.tries)"')" = 'delivered 2' ]
    [[ $(of never '"\(.class) \(.tries) \(.errormsg)"') == 'store 2 two  lines éxxxx'* ]]
    [ "$(of failed '"\(.class) \(.tries) \(.errormsg)"')" = 'store 1 no good' ]
    [ "$(of silent .errormsg)" = 'the command says "failed"' ]
    [ "$(of stored .status)" = delivered ]
}

@test "what is no receipt is quoted; the process is started again, and the run goes on" {
    start_origin
    program store << 'END'
print("hello, I am the store", file=sys.stderr)
for facts, body in frames():
    url = facts["url"]
    if url.endswith("words"): print("Traceback: \x1b[31m oh no", flush=True)
    elif url.endswith("other-id"): print('{"id":0,"status":"stored"}', flush=True)
    elif url.endswith("other-status"): answer(facts, "fine")
    elif url.endswith("number"): answer(facts, detail=7)
    elif url.endswith("endless"):
        for i in range(1000): sys.stdout.write("x" * 10000)
    elif url.endswith("list"): print("[]", flush=True)
    elif url.endswith("double"):
        put(facts, body)
        print(json.dumps({"id": facts["id"], "status": "stored"}) + "\nmore", flush=True)
    else: put(facts, body); answer(facts)
END
    start_uploader -j 2 "pipe:$T/store"
    start_fetcher
    {
        for how in words other-id other-status number endless list double; do
            echo "$BASE/-/bytes/1000/$how"
        done
        make_list 50 100
    } > urls
    feed --retry 0 urls > manifest && false
    check_run urls manifest
    [ "$(grep -c delivered manifest)" -eq 51 ]
    [[ $(of words .errormsg) == "the command's answer is no receipt for id 1: Traceback:  [31m oh "* ]]
    [[ $(of other-id .errormsg) == *'no receipt for id 2: {"id":0,"status":"stored"}' ]]
    [[ $(of other-status .errormsg) == *'"status": "fine"}' ]]
    [[ $(of number .errormsg) == *'"detail": 7}' ]]
    [[ $(of endless .errormsg) == *'no receipt for id 5: xxxx'* ]]
    [[ $(of list .errormsg) == *': []' ]]
    [ "$(of double .status)" = delivered ]
    grep -q 'is no receipt for id .*; starting it again' uploader.log
    grep -q 'hello, I am the store' uploader.log
}

@test "garbage before it has read anything is found at once, a banner too" {
    start_origin
    program store << 'END'
print("Welcome to the store 1.0", flush=True)
time.sleep(1000)
END
    start_uploader -j 2 "pipe:$T/store"
    start_fetcher
    { make_list 1 20000000; make_list 1 10; } > urls
    SECONDS=0
    feed --retry 0 urls > manifest && false
    [ $SECONDS -le 30 ]
    [ "$(jq -r .errormsg manifest | grep -c 'no receipt for id [12]: Welcome')" -eq 2 ]
    until_true 5 none_runs
}

@test "stdin closed early, a frame cut: the uploader lives, the object comes again" {
    start_origin
    program store << 'END'
line = sys.stdin.buffer.readline()
facts = json.loads(line)
if tries(facts) == 1:
    os.close(0)
    time.sleep(0.05)
    answer(facts)
    time.sleep(1000)
put(facts, sys.stdin.buffer.read(facts["bytes"]))
answer(facts)
for facts, body in frames():
    put(facts, body)
    answer(facts)
END
    start_uploader -j 2 "pipe:$T/store"
    start_fetcher
    make_list 20 3000000 > urls
    feed urls > manifest
    check_run urls manifest
    wait "$UPLOADER"
    none_runs
}

@test "--timeout ends one that hangs, whether it reads or not" {
    start_origin
    program store << 'END'
if os.path.exists("reads"):
    for facts, body in frames():
        if "hang" in facts["url"] and tries(facts) == 1:
            time.sleep(1000)
        put(facts, body)
        answer(facts)
os.system("sleep 1000")
END
    start_uploader --timeout 0.5 -j 2 "pipe:$T/store"
    start_fetcher
    make_list 2 1000000 > urls
    feed --retry 0 urls > manifest && false
    [ "$(jq -r .errormsg manifest | sort -u)" = 'the command took longer than --timeout (0.5 s)' ]
    touch reads
    start_uploader --timeout 5 -j 2 "pipe:$T/store" # longer than Python takes to start, anywhere
    start_fetcher
    { make_list 100 1000; echo "$BASE/-/bytes/100000/hang"; } > urls
    feed urls > manifest
    check_run urls manifest
    [ "$(of hang .tries)" = 2 ]
    until_true 5 none_runs
}

@test "a command that ends before it has read anything, always: bounded, in words" {
    start_origin
    start_uploader -j 2 pipe:true
    start_fetcher
    { make_list 1 1000000; make_list 1 10; } > urls
    SECONDS=0
    feed --retry 0 urls > manifest && false
    [ $SECONDS -le 40 ]
    [ "$(grep -c '3 times before it had answered (exit status 0)' manifest)" -eq 2 ]
}

@test "usage, and what can't be run, in words" {
    run -5 "$BIN/uploader" --at "$AT" pipe:./missing
    [[ $output == *"pipe:./missing: ./missing: No such file or directory"* ]]
    run -2 "$BIN/uploader" --at "$AT" 'pipe:cat {key}'
    [[ $output == *"{key}: facts are in the frames here"* ]]
    run -2 "$BIN/uploader" --at "$AT" --fsync pipe:cat
    [[ $output == *"--fsync: "* ]]
}

@test "kill -9 of the uploader in mid-run: its processes end; every line once" {
    start_origin
    program store << 'END'
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for facts, body in frames():
    put(facts, body)
    time.sleep(0.02)
    answer(facts)
os.system("exec sleep 1000")
END
    endless_list 1000 "?$PAD"
    start_uploader -j 8 "pipe:$T/store"
    start_fetcher
    feed --window 100 list > manifest 3>&- & local feeder=$!
    PIDS+=($feeder)
    local had=0
    for _ in 1 2 3; do
        until_true 30 lines_at_least $((had + 200)) manifest
        kill -9 "$UPLOADER"
        until_true 20 none_runs
        had=$(wc -l < manifest)
        start_uploader -j 8 "pipe:$T/store"
    done
    until_true 30 lines_at_least $((had + 200)) manifest
    touch enough
    wait $feeder
    check_run urls manifest
    wait "$UPLOADER"
    none_runs # it hung on after its stdin's end
}

@test "TERM lets processes finish; a second one does not wait for an answer" {
    start_origin
    program store << 'END'
for facts, body in frames():
    time.sleep(1000 if os.path.exists("hang") else 0.1)
    put(facts, body)
    answer(facts)
END
    make_list 60 1000 '?wait=200' > urls
    start_uploader -j 4 "pipe:$T/store"
    local first=$UPLOADER
    start_fetcher -j 2
    feed urls > manifest 3>&- & local feeder=$!
    PIDS+=($feeder)
    until_true 20 lines_at_least 4 manifest
    start_uploader -j 4 "pipe:$T/store"
    kill "$first"
    wait "$first"
    until_true 20 lines_at_least 15 manifest
    touch hang
    local lines=0
    standing() {
        [ "$lines" -ne "$(wc -l < manifest)" ] || return 0
        lines=$(wc -l < manifest)
        read -rt 0.5 <> <(:) || return 1
    }
    until_true 10 standing
    : > uploader.log # the first has said it there; and two signals at once may be one
    local began=$EPOCHREALTIME
    kill "$UPLOADER"
    until_true 5 grep -q 'stopping: finishing' uploader.log
    kill "$UPLOADER"
    until_true 5 ended "$UPLOADER"
    [ $(((${EPOCHREALTIME/./} - ${began/./}) / 1000)) -le $((2500 + ${SLACK_MS:-1500})) ]
    until_true 5 none_runs
    rm hang
    start_uploader -j 4 "pipe:$T/store"
    wait $feeder
    check_run urls manifest
    [ "$(jq -r .tries manifest | sort -u)" = 1 ]
}

@test "README: uploader 'pipe:scripts/examples/sqlite-store out.db'" {
    start_origin
    ln -s "$BATS_TEST_DIRNAME/../../scripts" scripts
    local dest="'pipe:scripts/examples/sqlite-store out.db'"
    grep -qF "uploader $dest" "$BATS_TEST_DIRNAME/../../README.md"
    eval "start_uploader $dest"
    start_fetcher
    make_list 200 5000 > urls
    feed urls > manifest
    python3 - << 'END'
import os, sqlite3
for key, body in sqlite3.connect("out.db").execute("SELECT key, body FROM objects"):
    os.makedirs("out/" + os.path.dirname(key), exist_ok=True)
    open("out/" + key, "wb").write(body)
END
    check_run urls manifest
    [ "$(jq -r .place manifest | sort -u | wc -l)" -eq 200 ]
}
