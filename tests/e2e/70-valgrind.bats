#!/usr/bin/env bats
bats_require_minimum_version 1.5.0
load helpers

@test "valgrind finds nothing in feeder, fetcher and uploader" {
    [[ $BIN != *san* ]] || skip "the address sanitizer looks there itself"
    start_origin
    {
        make_list 200 4096
        make_list 3 300000
        printf '%s\n' "$BASE/-/bytes/10/a?status=404" "$BASE/-/bytes/5000/b?gzip=1" \
            "$BASE/-/bytes/9000/c?reset=500&times=1" "not a url"
    } > urls
    local watch=(valgrind -q --leak-check=full --errors-for-leak-kinds=definite
        --error-exitcode=99) up fetch
    "${watch[@]}" "$BIN/uploader" --at "$AT" --fsync dir:out 3>&- & up=$!
    "${watch[@]}" "$BIN/fetcher" --at "$AT" --allow-net loopback --compressed 3>&- & fetch=$!
    PIDS+=($up $fetch)
    run -1 "${watch[@]}" "$BIN/feeder" --at "$AT" --retry-delay 0.05 urls
    [ "$(grep -c '"status":"delivered"' <<< "$output")" -eq 205 ]
    wait $up
    wait $fetch
}
