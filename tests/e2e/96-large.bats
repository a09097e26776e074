#!/usr/bin/env bats
# Bodies of any size, among small ones: the peak of each process stays under the README's formula
# ("What bounds memory"), with every queue full once. `make soak` sets LARGE to 20 GiB and LARGE_S3
# to 2 GiB.
bats_require_minimum_version 1.5.0
load helpers
load s3

LARGE=${LARGE:-300000000}
LARGE_S3=${LARGE_S3:-200000000}
WITHIN_S=${WITHIN_S:-200}

# The knobs, in KiB where they are sizes: small, so that the formulas are.
PARALLEL=16 HWM=8 CHUNK=256 BUFFER=8192 MESSAGE=352 INTAKE_HWM=4 WINDOW=10000

setup_file() { serve_s3_for_file; }
teardown_file() { end_s3_for_file; }

# As the README has them: what a process of each kind has at most. MORE is the store's own.
formulas() {
    local base=10240 shared=$(((PARALLEL + HWM) * CHUNK))
    FEEDER_MOST=$((base + WINDOW * 3 / 2))
    FETCHER_MOST=$((base + PARALLEL * (2 * CHUNK + 100) + 2 * HWM * MESSAGE + shared))
    UPLOADER_ANON_MOST=$((base + BUFFER + INTAKE_HWM * MESSAGE + ${MORE:-0}))
    UPLOADER_MOST=$((UPLOADER_ANON_MOST + shared))
}

# status FIELD PID: kB, or nothing.
status() { awk -v field="$1:" '$1 == field { print $2 }' "/proc/$2/status" 2>/dev/null || :; }


# look: raises PEAK to what the processes have now. VmHWM is a peak by itself, RssAnon is not.
look() {
    local i kb looks=("VmHWM $FEEDER" "VmHWM $FETCHER" "VmHWM $UPLOADER" "RssAnon $UPLOADER")
    for i in 0 1 2 3; do
        # shellcheck disable=SC2086 # two words
        kb=$(status ${looks[i]})
        [ "${kb:-0}" -le "${PEAK[i]}" ] || PEAK[i]=$kb
    done
}

# within WHAT PEAK MOST: says both; fails beyond.
within() {
    echo "# $1: $2 kB of $3" >&3
    [ "$2" -le "$3" ]
}

# run_within_formulas DEST [UPLOADER-OPTION...]: the list `urls`.
run_within_formulas() {
    local dest=$1 end=$((SECONDS + WITHIN_S))
    shift
    start_uploader --buffer ${BUFFER}k --hwm $INTAKE_HWM "$@" "$dest"
    start_fetcher -j $PARALLEL --hwm $HWM --chunk-size ${CHUNK}k
    "$BIN/feeder" --at "$AT" --window $WINDOW urls > manifest 2> feeder.log 3>&- &
    FEEDER=$!
    PIDS+=("$FEEDER")
    PEAK=(0 0 0 0)
    until_true 30 lines_at_least 20 manifest
    kill -STOP "$UPLOADER" # every queue fills up
    read -rt 1 <> <(:) || :
    kill -CONT "$UPLOADER"
    until ended "$FEEDER"; do
        look
        [ $SECONDS -lt $end ]
        read -rt 0.1 <> <(:) || :
    done
    wait "$FEEDER"
    [ "$(jq -s 'map(select(.status == "delivered")) | length' manifest)" -eq "$(wc -l < urls)" ]
    [[ $BIN != *san* ]] || return 0 # the sanitizers' own memory is in no formula
    formulas
    within feeder "${PEAK[0]}" $FEEDER_MOST
    within fetcher "${PEAK[1]}" $FETCHER_MOST
    within uploader "${PEAK[2]}" $UPLOADER_MOST
    within "uploader, what it shares apart" "${PEAK[3]}" $UPLOADER_ANON_MOST
}

# mixed SMALL URL: the large one among so many of 1 KiB. The first takes long, so that the run is not
# over before the uploader is stopped.
mixed() {
    make_list "$1" 1024 | sed '1s/$/?wait=4000/' | sed "$(($1 / 5))r "<(echo "$2")
}

# A sparse file: nothing but nginx reads it.
start_large() {
    mkdir www
    truncate -s "$LARGE" www/large
    start_nginx "location / { root $T/www; sendfile on; }"
    start_origin
    mixed 2000 "$NGINX/large" > urls
}

@test "null: a large body among small ones" {
    start_large
    run_within_formulas null:
    [ -n "$(jq -c "select(.size_download == $LARGE)" manifest)" ]
}

@test "dir: a large body among small ones, on the disk" {
    local need=$((LARGE / 1024 + 2000000))
    [ "$(df --output=avail -k . | tail -n 1)" -gt $need ] || skip "less than $need kB are free here"
    start_large
    run_within_formulas dir:out
    cmp www/large "out/$(jq -r "select(.size_download == $LARGE) | .key" manifest)"
    [ "$(find out -type f | wc -l)" -eq 2001 ]
}

@test "s3: a large body in parts, among small ones" {
    local sum
    start_s3
    start_origin
    mixed 300 "$BASE/-/bytes/$LARGE_S3/large" > urls
    # -j x 0.1 MiB, 1.5 MiB for the one in parts, libcurl's own 4 MB.
    MORE=$((16 * 103 + 1536 + 4096)) run_within_formulas "s3://$BKT/p" --endpoint-url "$S3"
    sum=$("$BIN/origin" --print "/-/bytes/$LARGE_S3/large" | sha256sum | cut -d' ' -f1)
    jq -r "select(.size_download == $LARGE_S3) | \"\(.sha256) \(.key)\"" manifest > large
    [ "$(cut -d' ' -f1 large)" = "$sum" ]
    [ "$(curl_s3 GET "$BKT/p/$(cut -d' ' -f2 large)" | sha256sum | cut -d' ' -f1)" = "$sum" ]
}
