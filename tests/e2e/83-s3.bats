#!/usr/bin/env bats
# s3://BUCKET/PREFIX against a real service (tests/s3/serve: OpenStack Swift), read back with curl's
# own signatures and with s3cmd.
bats_require_minimum_version 1.5.0
load helpers
load s3

setup_file() { serve_s3_for_file; }
teardown_file() { end_s3_for_file; }

start_s3_uploader() {
    start_uploader --endpoint-url "$S3" "$@"
}

# go STATUS DEST [UPLOADER-OPTION...]: the list `urls` into DEST. What an uploader takes back it may
# take back after the run: it has ended too.
go() {
    local want=$1 dest=$2 status=0
    shift 2
    start_s3_uploader "$@" "$dest"
    start_fetcher
    timeout 200 "$BIN/feeder" --at "$AT" --retry-delay 0.05 urls > manifest 2> feeder.log 3>&- ||
        status=$?
    [ "$status" -eq "$want" ] || { cat feeder.log uploader.log; tail -n 3 manifest; return 1; }
    wait "$UPLOADER"
}

# What is below prefix $1 is what the manifest says, no more and no less.
check_bucket() {
    diff <(sort urls) <(jq -r .url manifest | sort)
    read_back "$1"
    jq -r 'select(.status == "delivered") | "\(.sha256)  got/\(.key)"' manifest > sums
    sha256sum --quiet -c sums
    [ "$(find got -type f | wc -l)" -eq "$(wc -l < sums)" ]
}

uploads() {
    curl_s3 GET "$BKT?uploads=" | grep -o '<UploadId>' | wc -l
}

@test "300 mixed objects, an empty one and one in parts, with type, source and digest" {
    start_origin
    start_s3
    for i in $(seq 300); do echo "$BASE/-/bytes/$((i * i * 3))/$i.bin"; done > urls
    printf '%s\n' "$BASE/-/bytes/0/empty" "$BASE/-/bytes/20000000/large.bin" \
        "$BASE/-/bytes/10/q?a=b+c&d=%C3%A9é" >> urls
    go 0 s3://$BKT/pre
    check_bucket pre/
    [ "$(uploads)" -eq 0 ]
    jq -r 'select(.url | endswith("é")) | .key' manifest > key
    curl_s3 GET "$BKT/pre/$(cat key)" -D head -o body
    grep -Fiq "x-amz-meta-source-url: $BASE/-/bytes/10/q?a=b+c&d=%C3%A9%C3%A9" head
    grep -iq "x-amz-meta-sha256: $(sha256sum < body | cut -d' ' -f1)" head
    grep -iq "content-type: application/octet-stream" head
    jq -r 'select(.url | endswith("large.bin")) | .key' manifest > key
    curl_s3 HEAD "$BKT/pre/$(cat key)" -I > head
    grep -Fiq "x-amz-meta-source-url: $BASE/-/bytes/20000000/large.bin" head
}

@test "100 MB go up in parts, in little memory" {
    start_origin
    start_s3
    echo "$BASE/-/bytes/100000000/large" > urls
    start_s3_uploader --stay s3://$BKT
    local peak
    start_fetcher
    "$BIN/feeder" --at "$AT" urls > manifest 2> feeder.log 3>&-
    peak=$(awk '/^VmHWM/ { print $2 }' "/proc/$UPLOADER/status")
    check_bucket ""
    echo "# uploader: $peak KB at most" >&3
    [ "$peak" -le "${RSS_MOST_KB:-110000}" ]
    grep -q 'partNumber=6' "$REQUESTS"
    run -1 grep -q 'partNumber=7' "$REQUESTS"
}

@test "keys and prefixes with every kind of character; a prefix is no directory" {
    start_origin
    start_s3
    make_list 5 100 > urls
    go 0 "s3://$BKT/pré fix+=&?#%41:@,;\$'()*!~"
    [ "$(jq -s 'map(select(.status == "delivered")) | length' manifest)" -eq 5 ]
    curl_s3 GET "$BKT/pr%C3%A9%20fix%2B%3D%26%3F%23%2541%3A%40%2C%3B%24%27%28%29%2A%21~/$(
        jq -r 'select(.id == 1) | .key' manifest)" > body
    [ "$(sha256sum < body | cut -d' ' -f1)" = "$(jq -r 'select(.id == 1) | .sha256' manifest)" ]
}

@test "what is there already stays, and is reported with the digest of what is there" {
    start_origin
    start_s3
    make_list 20 100 > urls
    echo "$BASE/-/bytes/300000/parts" >> urls
    go 0 s3://$BKT/p --part-size 100k
    echo other > other
    curl_s3 PUT "$BKT/p/$(jq -r 'select(.id == 1) | .key' manifest)" --upload-file other
    jq -r 'select(.url | endswith("parts")) | .key' manifest > key
    curl_s3 PUT "$BKT/p/$(cat key)" --upload-file other
    go 0 s3://$BKT/p --part-size 100k
    [ "$(grep -c '"existing":true' manifest)" -eq 21 ]
    [ "$(jq -s 'map(select(.size_download == 6)) | length' manifest)" -eq 2 ]
    check_bucket p/
    [ "$(uploads)" -eq 0 ]
    go 0 s3://$BKT/p --part-size 100k --overwrite
    run -1 grep -q existing manifest
    check_bucket p/
}

@test "the next run in the same uploader, and the origin has another body: what is there is said" {
    mkdir www
    start_nginx "location / { root $T/www; }"
    start_s3
    echo "$NGINX/body" > urls
    start_s3_uploader --stay --part-size 100k s3://$BKT/p
    local body
    for body in first second; do
        yes $body | head -c 300000 > www/body
        sha256sum < www/body > $body.sum
        start_fetcher
        "$BIN/feeder" --at "$AT" urls > $body
    done
    [ "$(jq -r .sha256 first)  -" = "$(cat first.sum)" ]
    [ "$(jq -r '"\(.existing) \(.sha256)"' second)  -" = "true $(cat first.sum)" ]
    curl_s3 GET "$BKT/p/$(jq -r .key second)" | sha256sum | cmp - first.sum
}

@test "two attempts at one key at the same moment: one is put, the other is told so" {
    start_origin
    start_s3
    for i in $(seq 40); do echo "$BASE/-/bytes/200000/same"; done > urls
    go 0 s3://$BKT/p -j 16 --part-size 64k
    [ "$(jq -s 'map(select(.status == "delivered")) | length' manifest)" -eq 40 ]
    [ "$(jq -r .sha256 manifest | sort -u | wc -l)" -eq 1 ]
    [ "$(uploads)" -eq 0 ]
}

@test "a service without conditional puts is found out once; what is there stays all the same" {
    start_origin
    start_s3 --no-conditions
    make_list 20 100 > urls
    echo "$BASE/-/bytes/300000/parts" >> urls
    go 0 s3://$BKT/p --part-size 100k
    [ "$(grep -c 'no put-if-absent' uploader.log)" -eq 1 ]
    check_bucket p/
    go 0 s3://$BKT/p --part-size 100k
    [ "$(grep -c '"existing":true' manifest)" -eq 21 ]
}

@test "a look that fails is no word that the key is missing: what is there stays" {
    start_origin
    start_s3 --no-conditions
    make_list 3 100 > urls
    echo "$BASE/-/bytes/300000/parts" >> urls
    go 0 s3://$BKT/p --part-size 100k
    echo other > other
    local key
    for key in $(jq -r .key manifest); do curl_s3 PUT "$BKT/p/$key" --upload-file other; done
    echo 500 InternalError > "$S3_DIR/fail-HEAD"
    go 1 s3://$BKT/p --part-size 100k --upload-retry-time 0.3
    [ "$(jq -r '"\(.class) \(.errormsg | sub(" .tried.*"; ""))"' manifest | sort -u)" = \
        "store whether the key is there is not known: HTTP status 500" ]
    # HEAD is refused: what is refused is asked by GET.
    echo 400 ExpiredToken > "$S3_DIR/fail-HEAD"
    go 0 s3://$BKT/p --part-size 100k
    [ "$(grep -c '"existing":true' manifest)" -eq 4 ]
    make_list 6 50 > urls
    rm -f feeder*intake*
    start_s3_uploader s3://$BKT/q
    listens() { compgen -G 'feeder*intake*' > /dev/null; }
    until_true 60 listens # so that it has looked at the bucket
    cp "$S3_DIR/fail-HEAD" "$S3_DIR/fail-GET"
    start_fetcher
    "$BIN/feeder" --at "$AT" urls > manifest 2> feeder.log 3>&- & local feeder=$!
    PIDS+=($feeder)
    until_true 30 grep -q 'ExpiredToken: the session token has expired: waiting' uploader.log
    echo 403 AccessDenied | tee "$S3_DIR/fail-HEAD" > "$S3_DIR/fail-GET" # who may only write
    wait $feeder
    rm "$S3_DIR"/fail-*
    check_bucket q/
    read_back p/
    [ "$(find got -type f -exec cat {} + | sort | uniq -c)" = "      4 other" ]
}

@test "SlowDown is back-pressure: everything is delivered, no try is counted" {
    start_origin
    start_s3 --slow 7
    make_list 150 3000 > urls
    go 0 s3://$BKT/p
    check_bucket p/
    [ "$(jq -s 'map(.tries) | max' manifest)" -eq 1 ]
    grep -q 'asks for less' uploader.log
}

@test "https: certificates are verified, whole objects and parts arrive" {
    start_origin
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem 2> openssl.log
    export CURL_CA_BUNDLE=$T/cert.pem # curl's; ours takes nothing from there
    start_s3 --tls cert.pem key.pem
    printf '%s\n' "$BASE/-/bytes/5000/small" "$BASE/-/bytes/900000/parts" > urls
    run -5 "$BIN/uploader" --endpoint-url "$S3" s3://$BKT
    [[ $output == *certificate* ]]
    go 0 s3://$BKT/p --cacert cert.pem --part-size 200k
    local sum key
    while read -r sum key; do
        curl_s3 GET "$BKT/p/$key" > body
        [ "$(sha256sum < body | cut -d' ' -f1)" = "$sum" ]
    done < <(jq -r '"\(.sha256) \(.key)"' manifest)
    grep -q 'partNumber=5' "$REQUESTS"
}

@test "wrong keys, no bucket, a wrong clock, no service: said at once" {
    start_s3
    run -5 env AWS_SECRET_ACCESS_KEY=wrong "$BIN/uploader" --endpoint-url "$S3" s3://$BKT
    [[ $output == *"SignatureDoesNotMatch: the secret key does not belong"* ]]
    run -5 env AWS_ACCESS_KEY_ID=wrong "$BIN/uploader" --endpoint-url "$S3" s3://$BKT
    [[ $output == *"InvalidAccessKeyId: the access key is not known there"* ]]
    run -5 "$BIN/uploader" --endpoint-url "$S3" s3://nobody
    [[ $output == *"NoSuchBucket: there is no such bucket"* ]]
    echo 403 RequestTimeTooSkewed > "$S3_DIR/fail-with"
    run -5 "$BIN/uploader" --endpoint-url "$S3" s3://$BKT
    [[ $output == *"clock"* ]]
    rm "$S3_DIR/fail-with"
    run -5 env -u AWS_ACCESS_KEY_ID HOME="$T" "$BIN/uploader" --endpoint-url "$S3" s3://$BKT
    [[ $output == *"no credentials: set AWS_ACCESS_KEY_ID"* ]]
    run -4 "$BIN/uploader" --endpoint-url http://127.0.0.1:1 s3://$BKT
    run -2 env HOME="$T" "$BIN/uploader" s3://$BKT
    [[ $output == *"--region"* ]]
    run -2 "$BIN/uploader" --endpoint-url "$S3" s3:$BKT
    run -2 "$BIN/uploader" --endpoint-url "$S3" --addressing other s3://$BKT
    run -2 "$BIN/uploader" --endpoint-url ftp://h s3://$BKT
}

@test "credentials and endpoint come from the files the AWS tools read" {
    start_origin
    start_s3
    make_list 5 100 > urls
    mkdir .aws
    printf '[work]\naws_access_key_id = testkey\naws_secret_access_key = testsecret\n' \
        > .aws/credentials
    printf '[profile work]\nregion = us-east-1\nendpoint_url = %s\n' "$S3" > .aws/config
    env -u AWS_ACCESS_KEY_ID -u AWS_SECRET_ACCESS_KEY HOME="$T" AWS_PROFILE=work \
        "$BIN/uploader" --at "$AT" s3://$BKT/p 2> uploader.log 3>&- &
    PIDS+=($!)
    start_fetcher
    run -0 "$BIN/feeder" --at "$AT" urls
}

@test "credentials that expire in mid-run: the run stands until they are renewed" {
    start_origin
    start_s3
    { make_list 200 2000 '?wait=10'; make_list 200 2001 '?until=expired&wait=10'; } > urls
    start_s3_uploader s3://$BKT/p
    start_fetcher -j 4 --speed-time 0
    "$BIN/feeder" --at "$AT" urls > manifest 2> feeder.log 3>&- & local feeder=$!
    PIDS+=($feeder)
    until_true 60 lines_at_least 50 manifest
    echo 400 ExpiredToken > "$S3_DIR/fail-with"
    touch expired
    until_true 30 grep -q 'ExpiredToken: the session token has expired: waiting' uploader.log
    rm "$S3_DIR/fail-with"
    wait $feeder
    check_bucket p/
}

@test "an uploader killed six times: all equal, and the next start leaves no leftovers" {
    start_origin
    start_s3
    # Each uploader has ten of its own to bring, of up to three parts: answered when the one before it
    # is killed, one after the other. All are asked for at once: no gate is in another's way.
    local i round
    touch killed0
    for i in $(seq 0 69); do
        echo "$BASE/-/bytes/$((i * 37 % 120 * 4000))/$i?until=killed$((i / 10))&wait=$((i % 10 * 20))"
    done > urls
    start_s3_uploader --part-size 200k s3://$BKT/p
    start_fetcher -j 70 --speed-time 0
    "$BIN/feeder" --at "$AT" --lease 1 urls > manifest 2> feeder.log 3>&- & local feeder=$!
    PIDS+=($feeder)
    for round in 1 2 3 4 5 6; do
        until_true 60 has_worked "$UPLOADER" 2
        kill -9 "$UPLOADER"
        touch killed$round
        start_s3_uploader --part-size 200k s3://$BKT/p
    done
    wait $feeder
    wait "$UPLOADER" # it may yet take back what was there already
    check_bucket p/
    local left
    left=$(uploads)
    echo "# $left uploads left over" >&3
    # Another's, outside the prefix, stays; so does what is young.
    curl_s3 POST "$BKT/other?uploads=" -d '' > /dev/null
    curl_s3 POST "$BKT/p/young?uploads=" -d '' > /dev/null
    run -4 "$BIN/uploader" --at "$AT" --wait 0.1 --endpoint-url "$S3" --abort-idle 3600 s3://$BKT/p
    [ "$(uploads)" -eq $((left + 2)) ]
    read -rt 2.1 <> <(:) || :
    run -4 "$BIN/uploader" --at "$AT" --wait 0.1 --endpoint-url "$S3" --abort-idle 1 s3://$BKT/p
    [ "$(uploads)" -eq 1 ]
}

@test "a body that breaks off in mid-upload leaves nothing" {
    start_origin
    local origin=${PIDS[-1]} status=0
    start_s3
    echo "$BASE/-/bytes/2000000/whole" > urls
    go 0 s3://$BKT/q --part-size 200k
    echo "$BASE/-/bytes/2000000/x?stall=1500000" > urls
    : > "$REQUESTS"
    start_s3_uploader --part-size 200k s3://$BKT/p
    start_fetcher --speed-time 0
    "$BIN/feeder" --at "$AT" --retry-delay 0.05 urls > manifest 2> feeder.log 3>&- & local feeder=$!
    PIDS+=($feeder)
    until_true 60 grep -q 'partNumber=2' "$REQUESTS"
    kill -9 "$origin" # so the body breaks off now, when parts of it are there
    wait $feeder || status=$?
    [ $status -eq 1 ]
    wait "$UPLOADER"
    [ "$(uploads)" -eq 0 ]
    [ "$(curl_s3 GET "$BKT" | grep -o '<Key>' | wc -l)" -eq 1 ]
}
