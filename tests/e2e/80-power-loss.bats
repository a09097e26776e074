#!/usr/bin/env bats
bats_require_minimum_version 1.5.0
load helpers

# How a power cut is made and what it may leave: docs/durability.md.
POWER=$BATS_TEST_DIRNAME/../power
AT_ONCE=${AT_ONCE:-8}  # tries, which mostly wait
POINTS=${POINTS:-12}   # syncs of a victim at which the power is cut, before and after
BATS_TEST_TIMEOUT=1200  # on a busy machine; each try has its own deadline

# 120 small objects over two seconds, some of several chunks, some that fail at first.
make_paths() {
    local i
    for ((i = 1; i <= 120; i++)); do echo "/-/bytes/$((i * 37 % 5000))/$i?wait=60"; done
    for ((i = 1; i <= 4; i++)); do echo "/-/bytes/$((i * 150000))/large$i?wait=60"; done
    for ((i = 1; i <= 4; i++)); do echo "/-/bytes/5000/cut$i?reset=2000&times=1"; done
} > paths

# Some that fail for good.
make_hopeless() {
    printf '/-/bytes/9/%s\n' 'a?status=404' 'b?status=410' 'c?status=404&wait=300'
} > hopeless

# The same for all tests of this file, so made once.
make_bodies() {
    local path
    while IFS='?' read -r path _; do
        echo "$("$BIN/origin" --print "$path" | sha256sum | cut -d ' ' -f 1)  $path"
    done < paths | sort
}

prepare() {
    [[ $BIN != *san* ]] || skip "a preloaded library and the address sanitizer do not mix"
    export BIN BASE
    start_origin
    make_paths
    [ -s "$BATS_FILE_TMPDIR/bodies" ] || make_bodies > "$BATS_FILE_TMPDIR/bodies"
    ln -s "$BATS_FILE_TMPDIR/bodies" bodies
}

# try_all < lines of VICTIM CUT SEED
try_all() {
    local began=$SECONDS try
    tee tries | timeout 1100 xargs -P "$AT_ONCE" -L 1 timeout 600 "$POWER/try" 3>&- || :
    echo "# $(wc -l < tries) power cuts in $((SECONDS - began)) s, $(lost) operations lost" >&3
    [ -s tries ]
    while read -r try; do ls "${try// /-}/held"; done < tries
}

# What the tries had to do without.
lost() {
    cat ./*/loss.log | sed 's/.*lost: \([0-9]*\) of [0-9]* unsynced names, \([0-9]*\).*/\1 \2/' |
        awk '{ n += $1 + $2 } END { print n }'
}

# syncs_of PROGRAM: in a whole run.
syncs_of() {
    sed -n "1s/.*[ ,]\([0-9]*\) by $1[,;].*/\1/p" ./*-none-*/loss.log
}

# cuts VICTIM SYNCS: before and after each of them, or of POINTS of them.
cuts() {
    local i n points=$((POINTS < $2 ? POINTS : $2))
    for ((i = 0; i < points; i++)); do
        n=$((1 + i * $2 / points))
        printf '%s\n' "$1 $n- $n" "$1 $n+ $((n + 1000))"
    done
}

@test "the store loses its power at its syncs: what has a receipt is whole, the run goes on" {
    prepare
    "$POWER/try" store none 1
    cuts store "$(syncs_of uploader)" | try_all
}

@test "the same where each file has a name from its beginning" {
    prepare
    export POWER_NAMED=1
    "$POWER/try" store none 1
    POINTS=4 cuts store "$(syncs_of uploader)" | try_all
}

# loses_power STORE: at its uploader's syncs; then all do, twice.
loses_power() {
    prepare
    export STORE=$1
    "$POWER/try" store none 1
    cuts store "$(syncs_of uploader)" | try_all
    "$POWER/try" uploader 100,40- 1
}

@test "tar: what has a receipt is whole in its shard, the shard is finished" {
    loses_power tar
}

@test "tar: the same where shards are packed" {
    POINTS=6 loses_power tar.zst
}

@test "warc: what has a receipt is whole in its file, the file is finished" {
    loses_power warc
}

@test "all lose it at the feeder's syncs: each line once, what failed is listed once" {
    prepare
    make_hopeless
    "$POWER/try" feeder none 1
    POINTS=24 cuts feeder "$(syncs_of feeder)" | try_all
}

@test "all lose it at the uploader's syncs: status 0, each line once, each object whole" {
    prepare
    "$POWER/try" uploader none 1
    cuts uploader "$(syncs_of uploader)" | try_all
}

@test "it is lost again while they recover, or between syncs, or by the feeder alone" {
    prepare
    make_hopeless
    {
        printf 'feeder %s\n' '7-,2- 1' '8-,3+ 2' '9+,1+ 3' '9-,4-,5- 4'
        printf 'feeder %s\n' '12,5 5' '20,3 6' '25,7+,2 7'
        printf 'uploader %s\n' '150,40- 1' '200-,333 2' '300,20,60 3'
        printf 'journal %s\n' '1- 1' '7- 2' '8+ 3' '9- 4' '10+ 5' '9+,3- 6'
    } | try_all
}

@test "what an uploader without --fsync left is durable before one with --fsync says so" {
    prepare
    printf 'crash %s\n' '200 1' '300 2' '300 3' '400 4' | try_all
}

# fails_for_some VICTIM CUT
fails_for_some() {
    local seed
    for seed in 1 2 3 4 5 6 7 8; do
        ! "$POWER/try" "$1" "$2" $seed 2> complaint || continue
        cat complaint
        ! grep -E 'the store lacks|the manifest is wrong' complaint || return 0
    done
    return 1
}

@test "the test bites: without --fsync, and on a disk that lies, objects are lost" {
    prepare
    NO_FSYNC=1 fails_for_some store 250
    POWER_LIES=1 fails_for_some store 100+
}
