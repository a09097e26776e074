#!/usr/bin/env bats
# http://HOST/PATH/{key}: what the server has is what the manifest says, whatever the server does
# meanwhile. tests/put/serve is that server.
bats_require_minimum_version 1.5.0
load helpers

PUT=$BATS_TEST_DIRNAME/../put/serve

# start_put [OPTION...]: the server; STORE is its URL.
start_put() {
    rm -f put.port
    "$PUT" "$T/put" "$@" > put.port 2> put.log 3>&- &
    SERVER=$!
    PIDS+=("$SERVER")
    until_true 30 test -s put.port
    STORE=http://127.0.0.1:$(cut -d' ' -f2 put.port)
}

# go STATUS [UPLOADER-OPTION...]: the list `urls` into $STORE/o/{key}; feeder's status is STATUS.
go() {
    local want=$1 status=0
    shift
    start_uploader "$@" "$STORE/o/{key}"
    start_fetcher
    timeout 200 "$BIN/feeder" --at "$AT" --retry-delay 0.05 urls > manifest 2> feeder.log 3>&- ||
        status=$?
    [ "$status" -eq "$want" ] || { cat feeder.log uploader.log; tail -n 3 manifest; return 1; }
}

# Each delivered object is at the server, with the manifest's digest and size.
check_store() {
    diff <(sort urls) <(jq -r .url manifest | sort)
    jq -r 'select(.status == "delivered") |
        "\(.sha256)  put/objects/!o!\(.key | gsub("/"; "!"))"' manifest > sums
    [ -s sums ]
    sha256sum --quiet -c sums
}

# requests METHOD [STATUS]: how many the server has had.
requests() {
    awk -v method="$1" -v status="${2:-}" \
        '$2 == method && (status == "" || $4 == status)' put/requests | wc -l
}

@test "a list goes to a server by PUT, with length and content type, each once" {
    start_origin
    start_put
    make_list 300 3000 > urls
    printf '%s\n' "$BASE/-/bytes/0/empty" "$BASE/-/bytes/5000000/large" >> urls
    go 0
    check_store
    [ "$(requests PUT 201)" -eq 302 ]
    [ "$(requests PUT)" -eq 302 ]
    local one
    one=$(find put/headers -type f | head -n 1)
    grep -iq '^content-type: application/octet-stream' "$one"
    grep -iq '^content-length: [0-9]' "$one"
    grep -iq '^if-none-match: \*' "$one"
    run -1 grep -iq '^expect:\|^transfer-encoding:' "$one"
}

@test "what is there already stays, and is reported with the digest of what is there" {
    start_origin
    start_put
    make_list 20 100 > urls
    go 0
    local one
    one=$(find put/objects -type f | head -n 1)
    echo other > "$one"
    go 0
    [ "$(grep -c '"existing":true' manifest)" -eq 20 ]
    [ "$(cat "$one")" = other ]
    [ "$(jq -r 'select(.size_download == 6) | .sha256' manifest)" = \
        "$(sha256sum < "$one" | cut -d' ' -f1)" ]
    check_store
}

@test "--overwrite replaces what is there; --method POST posts" {
    start_origin
    start_put
    make_list 20 100 > urls
    go 0
    for one in put/objects/*; do echo other > "$one"; done
    go 0 --overwrite
    run -1 grep -q existing manifest
    check_store
    for one in put/objects/*; do echo other > "$one"; done
    go 0 --method POST
    check_store
    [ "$(requests POST 201)" -eq 20 ]
}

@test "a server without put-if-absent is found out once, and each key looked for before" {
    start_origin
    make_list 50 100 > urls
    local status
    for status in 400 501; do
        rm -rf put
        start_put --no-conditions $status
        go 0
        check_store
        [ "$(grep -c 'no put-if-absent' uploader.log)" -eq 1 ]
        go 0
        [ "$(grep -c '"existing":true' manifest)" -eq 50 ]
        kill $SERVER
        : > uploader.log
    done
}

@test "a look that fails is no word that the key is missing: what is there stays" {
    start_origin
    make_list 5 100 > urls
    local how
    for how in fresh known; do # the server's not having conditions is found out, or is known
        rm -rf put
        start_put --no-conditions 501
        start_uploader --stay --upload-retry-time 0.3 "$STORE/o/{key}"
        local uploader=$UPLOADER one
        feed() {
            start_fetcher
            timeout 200 "$BIN/feeder" --at "$AT" --retry 1 --retry-delay 0.05 urls > manifest \
                2> feeder.log 3>&-
        }
        feed
        for one in put/objects/*; do echo other > "$one"; done
        if [ $how = fresh ]; then
            kill "$uploader"
            wait "$uploader"
            start_uploader --stay --upload-retry-time 0.3 "$STORE/o/{key}"
        fi
        echo 500 > put/head-answer
        run -1 feed
        [ "$(jq -r '"\(.class) \(.tries) \(.errormsg | sub(" .tried.*"; ""))"' manifest | sort -u)" = \
            "store 2 whether the key is there is not known: HTTP status 500" ]
        echo 403 > put/head-answer
        run -1 feed
        [ "$(jq -r '"\(.class) \(.tries) \(.errormsg)"' manifest | sort -u)" = \
            "store 1 whether the key is there is not known: HTTP status 403" ]
        echo 503 > put/head-answer
        : > uploader.log
        feed & local feeder=$!
        until_true 30 grep -q 'asks for less' uploader.log
        rm put/head-answer
        wait $feeder
        [ "$(grep -c '"existing":true' manifest)" -eq 5 ]
        [ "$(cat put/objects/* | sort | uniq -c)" = "      5 other" ]
        kill "$UPLOADER"
        wait "$UPLOADER"
    done
}

@test "cut connections and 500: sent again from what is held, fetched once" {
    start_origin
    make_list 100 20000 > urls
    start_put --reset-first 1 --fail-first 1 --fail-with 500
    go 0
    check_store
    [ "$(curl -s "$BASE/-/count/-/bytes/20000/7")" -eq 1 ]
    [ "$(jq -s 'map(.tries) | max' manifest)" -eq 1 ]
}

@test "an answer that is lost: the object is found, and reported with its digest" {
    start_origin
    make_list 30 2000 > urls
    start_put --lose-first 1
    go 0
    check_store
    [ "$(jq -s 'map(.tries) | max' manifest)" -eq 1 ]
}

@test "429 and 503 with Retry-After are heeded by all threads, and cost no try" {
    start_origin
    make_list 60 1000 > urls
    local status
    for status in 429 503; do
        rm -rf put
        mkdir put
        start_put
        echo "$status 5" > put/answer
        start_uploader -j 8 "$STORE/o/{key}"
        start_fetcher
        "$BIN/feeder" --at "$AT" --retry 0 urls > manifest 2> feeder.log 3>&- & local feeder=$!
        PIDS+=($feeder)
        until_true 30 test -s put/requests
        read -rt 2 <> <(:) || : # all eight are there, and none of them again
        rm put/answer
        wait $feeder
        check_store
        # The first eight met it; then nobody came for five seconds.
        [ "$(requests PUT $status)" -le 8 ]
        awk -v s=$status '$4 == s { if (!first) first = $1 } $4 == 201 { print $1 - first; exit }' \
            put/requests > pause
        [ "$(cat pause)" -ge 4900 ]
        grep -q 'asks for less: slowing down' uploader.log
        kill $SERVER
    done
}

@test "a server that is busy for long stops the fetchers; the list then goes on" {
    start_origin
    make_list 3000 20000 > urls
    mkdir put
    start_put
    echo 503 > put/answer
    start_uploader --buffer 2M "$STORE/o/{key}"
    start_fetcher --hwm 8
    "$BIN/feeder" --at "$AT" urls > manifest 2> feeder.log 3>&- & local feeder=$!
    PIDS+=($feeder)
    until_true 30 test -s put/requests
    # Standing still: two looks, a second apart, count the same.
    stands() { local a; a=$(requests); read -rt 1 <> <(:) || :; [ "$a" = "$(requests)" ]; }
    until_true 60 stands
    [ "$(requests)" -lt 1500 ]
    rm put/answer
    wait $feeder
    check_store
    [ "$(jq -s 'map(.tries) | max' manifest)" -eq 1 ]
}

@test "what a server refuses fails for good, in its words; a bound on tries is kept" {
    start_origin
    make_list 3 100 > urls
    start_put --token 'Bearer right'
    go 1
    [ "$(jq -r .errormsg manifest | sort -u)" = "HTTP status 401: not now" ]
    [ "$(jq -r .class manifest | sort -u)" = store ]
    [ "$(requests PUT)" -eq 3 ]
    kill $SERVER
    rm -rf put
    start_put --fail-first 1000 --fail-with 500
    go 1 --upload-retry-time 1
    jq -e 'select(.errormsg | test("^HTTP status 500: not now .tried [0-9]+ times.$"))' manifest
}

@test "--header-file: sent with each request, refused where others may read it; not in argv" {
    start_origin
    make_list 10 100 > urls
    start_put --token 'Bearer right'
    printf '# secret\nAuthorization: Bearer right\n' > headers
    chmod 600 headers
    go 0 --header-file headers
    check_store
    chmod 644 headers
    run -5 "$BIN/uploader" --header-file headers "$STORE/{key}"
    [[ $output == *"chmod o-rw"* ]]
    run -2 "$BIN/uploader" 'http://me:word@127.0.0.1/{key}'
    [[ $output == *"--header-file"* ]]
}

@test "https: certificates are verified; --cacert names one's own; a wrong one is said at once" {
    start_origin
    make_list 50 2000 > urls
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem 2> openssl.log
    start_put --tls cert.pem key.pem
    STORE=${STORE/http:\/\/127.0.0.1/https://localhost}
    go 0 --cacert cert.pem
    check_store
    run -5 "$BIN/uploader" "$STORE/{key}"
    [[ $output == *certificate* ]]
    run -5 "$BIN/uploader" --cacert cert.pem "${STORE/localhost/127.0.0.1}/{key}"
}

@test "a DEST that is none, and a server that is not there, are said at once" {
    run -2 "$BIN/uploader" http://127.0.0.1/path
    [[ $output == *"{key}"* ]]
    run -2 "$BIN/uploader" 'http://{key}/x'
    run -2 "$BIN/uploader" 'http:/h/{key}'
    run -2 "$BIN/uploader" 'http://h/{key}/{key}'
    run -2 "$BIN/uploader" 'http://h/{key}#x'
    run -2 "$BIN/uploader" --method DELETE 'http://h/{key}'
    run -4 "$BIN/uploader" 'http://127.0.0.1:1/{key}'
    [[ $output == *"onnect"* ]]
}

@test "a killed uploader: every line once, all at the server" {
    start_origin
    # Each uploader has lines of its own to bring: those after a kill are answered when it is done.
    { make_list 1500 5000; make_list 1500 5001 '?until=killed1'
      make_list 1500 5002 '?until=killed2'; make_list 1500 5003 '?until=killed3'; } > urls
    start_put
    start_uploader "$STORE/o/{key}"
    start_fetcher --speed-time 0
    "$BIN/feeder" --at "$AT" --lease 1 urls > manifest 2> feeder.log 3>&- & local feeder=$!
    PIDS+=($feeder)
    local round
    for round in 1 2 3; do
        until_true 60 has_worked "$UPLOADER" 500
        kill -9 "$UPLOADER"
        touch killed$round
        start_uploader "$STORE/o/{key}"
    done
    wait $feeder
    check_store
}

@test "a second TERM ends an uploader that waits for its server, at once" {
    start_origin
    make_list 100 1000 > urls
    mkdir put
    start_put
    echo 503 600 > put/answer
    start_uploader "$STORE/o/{key}"
    start_fetcher
    "$BIN/feeder" --at "$AT" urls > manifest 2> feeder.log 3>&- & local feeder=$!
    PIDS+=($feeder)
    until_true 30 grep -q 503 put/requests
    kill -TERM $UPLOADER
    until_true 10 grep -q stopping uploader.log # two that come together are one
    kill -TERM $UPLOADER
    until_true 3 ended "$UPLOADER"
    kill -TERM $feeder
}

@test "nginx takes what is put there" {
    start_origin
    make_list 500 3000 > urls
    mkdir dav
    start_nginx "location / { root $T/dav; dav_methods PUT; create_full_put_path on; }"
    STORE=$NGINX
    go 0
    jq -r '"\(.sha256)  dav/o/\(.key)"' manifest > sums
    sha256sum --quiet -c sums
    [ "$(find dav -type f | wc -l)" -eq 500 ]
}
