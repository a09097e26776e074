#!/usr/bin/env bats
# What an origin says that no decent one would (tests/e2e/hostile-origin; more in 10, 05).
bats_require_minimum_version 1.5.0
load helpers

start_hostile() {
    "$BATS_TEST_DIRNAME/hostile-origin" > hostile.port 2> hostile.log 3>&- &
    PIDS+=($!)
    until_true 30 test -s hostile.port
    BASE=http://127.0.0.1:$(cat hostile.port)
}

# of PATTERN FILTER: of the manifest's one line whose URL has it.
of() { jq -r "select(.url | contains(\"$1\")) | $2" manifest; }

feed() {
    local want=$1 status=0
    shift
    timeout 60 "$BIN/feeder" --at "$AT" --retry-delay 0.05 "$@" urls > manifest 2> feeder.log 3>&- ||
        status=$?
    [ "$status" -eq "$want" ] || { cat feeder.log; return 1; }
}

@test "texts that no message has room for: their lines alone have to do without" {
    start_hostile
    { printf "$BASE/%s\n" far/80000 far/30000 far/65530 type/80000 type/65530 type/900
      seq -f "$BASE/none/%.0f" 100; } > urls
    start_uploader dir:out
    start_fetcher
    SECONDS=0
    feed 1
    [ $SECONDS -lt 20 ] # two leases
    [ "$(of far/80000 '"\(.class) \(.tries) \(.errormsg)"')" = \
        'redirect 1 redirected to a URL of more than 32 KiB' ]
    [ "$(of far/65530 .class)" = redirect ]
    [ "$(of far/30000 '"\(.class) \(.response_code)"')" = 'http 404' ]
    [ "$(of far/30000 '.url_effective | length')" -gt 30000 ]
    [ "$(of /none/ '"\(.class) \(.tries)"' | sort -u)" = 'http 1' ]
    [ "$(of type/80000 '"\(.status) \(.content_type) \(.tries)"')" = 'delivered null 1' ]
    [ "$(of type/65530 '"\(.status) \(.content_type) \(.tries)"')" = 'delivered null 1' ]
    [ "$(of type/900 '"\(.status) \(.content_type | length) \(.tries)"')" = 'delivered 905 1' ]
    wait "$FETCHER"
    wait "$UPLOADER"
}

@test "an error status with a long body is what it is with a short one" {
    start_hostile
    echo "$BASE/busy" > urls
    start_uploader dir:out
    start_fetcher
    local began=$EPOCHREALTIME
    feed 0
    [ "$(of /busy '"\(.status) \(.tries)"')" = 'delivered 2' ]
    [ $(((${EPOCHREALTIME/./} - ${began/./}) / 1000)) -ge 1000 ] # Retry-After was heeded
}

@test "an address that is refused beside one that is not: what happens there counts" {
    [ "$(id -u)" -eq 0 ] && unshare -m true 2>/dev/null || skip "may not mount"
    start_hostile
    printf '127.0.0.1 localhost two.test\n::1 two.test\n::1 one.test\n' > hosts
    printf '%s/cut\n' "${BASE/127.0.0.1/two.test}" "${BASE/127.0.0.1/one.test}" > urls
    start_uploader dir:out
    # shellcheck disable=SC2016 # for the shell in there
    unshare -m sh -c 'mount --bind hosts /etc/hosts && exec "$@"' - \
        "$BIN/fetcher" --at "$AT" --allow-net 127.0.0.0/8 2> fetcher.log 3>&- &
    PIDS+=($!)
    feed 1 --retry 1
    [ "$(of two.test '"\(.class) \(.tries)"')" = 'cut 2' ]
    [ "$(of one.test '"\(.class) \(.tries)"')" = 'refused 1' ]
}
