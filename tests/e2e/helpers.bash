# What the end-to-end tests share: a private directory, the rude origin, workers started by hand.
BIN=${BIN:-$BATS_TEST_DIRNAME/../../build/bin}

setup() {
    T=$(mktemp -d "${TMPDIR:-/tmp}/sluice-e2e.XXXXXX")
    AT=ipc://$T/feeder
    PIDS=()
    cd "$T" || return 1
}

teardown() {
    # What a program under test has started has our directory in its arguments.
    mapfile -t -O "${#PIDS[@]}" PIDS < <(pgrep -f "${T:?}/")
    for pid in "${PIDS[@]}"; do kill -CONT "$pid" 2>/dev/null; kill -9 "$pid" 2>/dev/null; done
    [ ${#PIDS[@]} -eq 0 ] || wait "${PIDS[@]}" 2>/dev/null || :
    rm -rf "$T"
}

# until_true SECONDS COMMAND...: waits for a condition, with a deadline.
until_true() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ $SECONDS -lt $end ] || { echo "gave up waiting for: $*" >&2; return 1; }
        read -rt 0.05 <> <(:) || :
    done
}

ended() { ! kill -0 "$1" 2>/dev/null; }
stopped() { [[ $(< "/proc/$1/stat") == *') T '* ]]; } # SIGSTOP

start_origin() {
    "$BIN/origin" "$@" > origin.port 3>&- &
    PIDS+=($!)
    until_true 30 test -s origin.port
    BASE=http://127.0.0.1:$(cut -d' ' -f2 origin.port)
}

start_fetcher() {
    "$BIN/fetcher" --at "$AT" --allow-net loopback "$@" 2>> fetcher.log 3>&- &
    FETCHER=$!
    PIDS+=("$FETCHER")
}

# UPLOADER_PROGRAM=rude-uploader: the one of tests/store.
start_uploader() {
    "$BIN/${UPLOADER_PROGRAM:-uploader}" --at "$AT" "$@" 2>> uploader.log 3>&- &
    UPLOADER=$!
    PIDS+=("$UPLOADER")
}

# start_nginx DIRECTIVE...: one worker, a server with these; NGINX is its URL.
start_nginx() {
    local port
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])')
    cat > nginx.conf <<NGINX
daemon off; master_process off; pid $T/nginx.pid; error_log $T/nginx.log; worker_processes 1;
events {}
http { access_log off; client_body_temp_path $T/nginx.tmp; client_max_body_size 0;
    server { listen 127.0.0.1:$port; $* } }
NGINX
    nginx -p "$T" -c "$T/nginx.conf" 2> nginx.err 3>&- &
    PIDS+=($!)
    until_true 30 test -s nginx.pid
    # shellcheck disable=SC2034 # for the tests
    NGINX=http://127.0.0.1:$port
}

# What the origin has counted.
stat_of() { curl -s "$BASE/-/stats" | jq ".$1"; }
requests() { stat_of requests; }
sent_at_least() { [ "$(stat_of bytes_sent)" -ge "$1" ]; }

# make_list COUNT BYTES [QUERY]: distinct URLs of the rude origin.
make_list() {
    seq -f "$BASE/-/bytes/$2/%.0f${3:-}" "$1"
}

# endless_list BYTES [QUERY]: `list` goes on until there is a file `enough`, so that no run of it is
# over before what is to happen in its midst; what was given out of it is in urls. BYTES may be an
# expression with i, the line's number.
endless_list() {
    mkfifo list
    (
        i=0
        while [ ! -e enough ]; do
            i=$((i + 1))
            url="$BASE/-/bytes/$(($1))/$i${2:-}"
            echo "$url" 2>/dev/null || break
            echo "$url" >&4
        done
    ) > list 4> urls 3>&- &
    PIDS+=($!)
}

# In a query of endless_list: a pipe holds few such lines, so the run ends soon after `enough`.
# shellcheck disable=SC2034 # for the tests
PAD=pad=$(printf 'x%.0s' {1..600})

# sockets_at_least COUNT: a fetcher that has started has one beside AT, an uploader has two.
sockets_at_least() { [ "$(find "$T" -maxdepth 1 -type s | wc -l)" -ge "$1" ]; }

lines_at_least() { [ -e "$2" ] && [ "$(wc -l < "$2")" -ge "$1" ]; }

# all_joined COUNT [LOG]: the feeder (-v) has heard so many workers. One that is started late would
# miss a short run, and wait for another.
all_joined() { [ "$(grep -cE '(fetcher|uploader) .* joined$' "${2:-feeder.log}")" -ge "$1" ]; }

# has_worked PID [COUNT]: a worker has so many lines of the manifest, or one; the last line may be
# half there.
has_worked() { [ "$(grep -c "er\":\"[^\"]*:$1\"" manifest)" -ge "${2:-1}" ]; }

# Every line of LIST once in MANIFEST, and each delivered object byte-equal to the origin's.
check_run() {
    local list=$1 manifest=$2
    [ "$(jq -r .url "$manifest" | sort | uniq -d | wc -l)" -eq 0 ]
    diff <(sort "$list") <(jq -r .url "$manifest" | sort)
    jq -r 'select(.status == "delivered") | "\(.sha256)  out/\(.key)"' "$manifest" > sums
    sha256sum --quiet -c sums
    local url key
    while read -r url key; do
        "$BIN/origin" --print "/${url#*://*/}" | cmp - "out/$key"
    done < <(jq -r 'select(.status == "delivered") | "\(.url) \(.key)"' "$manifest" | shuf -n 20)
    [ -z "$(find out -name '.sluice-*')" ]
}
