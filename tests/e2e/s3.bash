# shellcheck shell=bash
# An S3 service for tests (tests/s3/serve: OpenStack Swift), and clients that have nothing of ours.
SERVE=$BATS_TEST_DIRNAME/../s3/serve
export AWS_ACCESS_KEY_ID=testkey AWS_SECRET_ACCESS_KEY=testsecret
unset AWS_SESSION_TOKEN AWS_PROFILE AWS_REGION AWS_DEFAULT_REGION AWS_ENDPOINT_URL
unset AWS_ENDPOINT_URL_S3

# It takes seconds to start, so one serves all tests of a file that want nothing special of it: for
# setup_file and teardown_file.
serve_s3_for_file() {
    "$SERVE" "$BATS_FILE_TMPDIR/s3" > "$BATS_FILE_TMPDIR/port" 2> "$BATS_FILE_TMPDIR/log" 3>&- &
    echo $! > "$BATS_FILE_TMPDIR/pid"
    until_true 60 test -s "$BATS_FILE_TMPDIR/port"
}

end_s3_for_file() {
    kill -9 "$(cat "$BATS_FILE_TMPDIR/pid")"
}

# start_s3 [OPTION...]: the service, with an empty bucket BKT; S3 is its URL. With options it is a
# new one.
start_s3() {
    S3_DIR=$BATS_FILE_TMPDIR/s3 BKT=bkt$BATS_TEST_NUMBER
    cp "$BATS_FILE_TMPDIR/port" s3.port
    if [ $# -gt 0 ]; then
        S3_DIR=$T/s3
        : > s3.port
        "$SERVE" "$S3_DIR" "$@" > s3.port 2> s3.log 3>&- &
        PIDS+=($!)
        until_true 60 test -s s3.port
    fi
    S3=http://127.0.0.1:$(cut -d' ' -f2 s3.port)
    [[ " $* " != *" --tls "* ]] || S3=${S3/http:\/\/127.0.0.1/https:\/\/localhost}
    REQUESTS=$S3_DIR/requests
    : > "$REQUESTS"
    curl_s3 PUT "$BKT"
}

# curl_s3 METHOD TARGET [OPTION...]: a request with curl's own signature.
curl_s3() {
    local method=$1 target=$2
    shift 2
    curl -sS -X "$method" --aws-sigv4 aws:amz:us-east-1:s3 --user testkey:testsecret \
        -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' "$@" "$S3/$target"
}

# Everything below the prefix $1 of the bucket into the directory `got`, by s3cmd.
read_back() {
    rm -rf got
    mkdir got
    s3cmd --no-ssl --host="${S3#http://}" --host-bucket="${S3#http://}" --access_key=testkey \
        --secret_key=testsecret --quiet --no-check-md5 get --recursive "s3://$BKT/$1" got/
}
