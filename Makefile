# Builds everything into build/; `make SAN=address,undefined` builds a sanitized twin into build-san/,
# `make FAULTS=1` one with fault points (lib/fault.h) into build-faults/, both into build-faults-san/.
CC      ?= gcc
PREFIX  ?= /usr/local
SAN     ?=
FAULTS  ?=
B       := build$(if $(FAULTS),-faults)$(if $(SAN),-san)
PKGS    := libzmq libcurl msgpack libcrypto zlib libxxhash expat libarchive
WARN    := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla
CFLAGS  ?= -O2 -g
ALL_C   := -std=c11 -D_GNU_SOURCE -I. $(WARN) $(CFLAGS) -pthread -MMD -MP \
           $(if $(FAULTS),-DSLUICE_FAULTS) \
           $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)
LD_ALL  := -pthread $(if $(SAN),-fsanitize=$(SAN))

LIB      := $B/libsluice.a
objects   = $(patsubst %.c,$B/%.o,$(wildcard $(1)/*.c))
PROGRAMS := feeder fetcher uploader
UNIT     := $(patsubst tests/unit/%.c,$B/unit/%,$(wildcard tests/unit/*.c))
SHIMS    := $(patsubst tests/shim/%.c,$B/shim/%.so,$(wildcard tests/shim/*.c))

all: $(PROGRAMS:%=$B/bin/%) $B/bin/origin $B/bin/rude-uploader $B/bench/null_fetcher $(SHIMS)

# An archive, so that a library only one program needs is linked into that one only.
$(LIB): $(call objects,lib)
	rm -f $@ && $(AR) rcs $@ $^

$B/bin/feeder:   $(call objects,feeder) $(LIB)
$B/bin/feeder:   LIBS = -lzmq -lmsgpackc -lxxhash -ljansson
$B/bin/fetcher:  $(call objects,fetcher) $(LIB)
$B/bin/fetcher:  LIBS = -lzmq -lmsgpackc -lcurl -lcrypto -lz -lxxhash
$B/bin/uploader: $(call objects,uploader) $(LIB)
UPLOADER_LIBS := -lzmq -lmsgpackc -lcurl -lcrypto -lexpat -lz -lxxhash -larchive -ljansson
$B/bin/uploader: LIBS = $(UPLOADER_LIBS)
# The uploader with a store that does all that one may do to it.
$B/bin/rude-uploader: $(filter-out $B/uploader/stores.o,$(call objects,uploader)) \
                      $(call objects,tests/store) $(LIB)
$B/bin/rude-uploader: LIBS = $(UPLOADER_LIBS)
$B/bin/origin:   $(call objects,tests/origin)
$B/bin/origin:   LIBS = -lz

$B/bin/%:
	@mkdir -p $(@D)
	$(CC) $(LD_ALL) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS)

$B/shim/%.so: tests/shim/%.c
	@mkdir -p $(@D)
	$(CC) -std=c11 $(WARN) -O2 -fPIC -shared -o $@ $< -ldl

$B/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_C) -c -o $@ $<

# A unit test links every module but the mains.
UNIT_OBJ := $(filter-out $(foreach p,$(PROGRAMS),$B/$p/$p.o),\
            $(foreach p,$(PROGRAMS),$(call objects,$p))) $(LIB)
$B/unit/%: $B/tests/unit/%.o $(UNIT_OBJ)
	@mkdir -p $(@D)
	$(CC) $(LD_ALL) -o $@ $^ $(UPLOADER_LIBS) -lcmocka -lz -ljansson

unit: $(UNIT)
	@set -e; for t in $(UNIT); do $$t; done

# The twin with fault points, sanitized if we are.
F := build-faults$(if $(SAN),-san)
faults:
	$(MAKE) FAULTS=1 all

# Most of a test's time is waiting, so they run side by side, but for those that look at a clock or
# at memory, or fill the machine by themselves.
ALONE := $(wildcard $(patsubst %,tests/e2e/%-*.bats,20 30 35 69 75 80 86 96))
# Of what fails, which test and where.
PROVE := --timer --comments --failures
e2e: export BATS_TEST_TIMEOUT = 300
e2e: export BIN = $(CURDIR)/$B/bin
e2e: export FAULT_BIN = $(CURDIR)/$F/bin
e2e: all faults
	prove $(PROVE) --jobs 3 --exec bats $(filter-out $(ALONE),$(wildcard tests/e2e/*.bats))
	prove $(PROVE) --exec bats $(ALONE)

# All that runs is killed, suspended and replaced all the time: 20,000 lines in two minutes at most.
chaos: all
	timeout -k 10 180 tests/chaos/chaos --bin $B/bin --seeds 4 --seconds 25 --within 120

# What takes too long for every day: half a million URLs, ten million lines, a body of 20 GiB (which
# needs that room below TMPDIR), 5,000 objects into every store with ten uploaders killed, a feeder
# killed at the millionth of two million lines, CHAOS_SEEDS times CHAOS_S seconds of chaos, every call
# made to fail.
CHAOS_S     ?= 120
CHAOS_SEEDS ?= 20
soak: all torture-all
	tests/chaos/chaos --bin $B/bin --seeds $(CHAOS_SEEDS) --seconds $(CHAOS_S)
	LONG=500000 LARGE=2147483648 LINES_LONG=10000000 SLACK_KB=0 BIN=$(CURDIR)/$B/bin prove --timer --exec bats \
	    tests/e2e/35-constant-memory.bats
	COUNT=5000 KILLS=10 BIN=$(CURDIR)/$B/bin prove --timer --exec bats tests/e2e/95-every-store.bats
	LARGE=21474836480 LARGE_S3=2147483648 WITHIN_S=3600 BIN=$(CURDIR)/$B/bin \
	    bats tests/e2e/96-large.bats
	RECOVERY_LINES=2000000 RECOVERY_LEASE=10 SLACK_MS=500 BIN=$(CURDIR)/$B/bin BATS_TEST_TIMEOUT=900 \
	    bats --filter 'killed feeder' tests/e2e/69-nothing-twice.bats

# Calls that can fail are made to fail, one in each run, under the sanitizers: a sample that is
# another one each day (tests/torture --seed), or all.
SAMPLE ?= 150
torture:
	$(MAKE) SAN=address,undefined CFLAGS='-O1 -g' all
	BIN=$(CURDIR)/build-san/bin tests/torture --sample $(SAMPLE)

torture-all: all
	BIN=$(CURDIR)/$B/bin tests/torture --all
	$(MAKE) SAN=address,undefined CFLAGS='-O1 -g' all
	BIN=$(CURDIR)/build-san/bin tests/torture --all --most 3

# Unit and end-to-end tests once more, under the sanitizers: these look for faults of memory, so the
# bounds of memory and time are wide.
sanitize:
	RSS_MOST_KB=2000000 SLACK_MS=3000 $(MAKE) SAN=address,undefined CFLAGS='-O1 -g' unit e2e

# uninitvar: cppcheck 2.10 takes HASH_ITER's second cursor for unset; gcc and the sanitizers look
# after that.
check:
	cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,portability --inline-suppr \
	    --suppress=missingIncludeSystem --include=/usr/include/uthash.h \
	    --include=/usr/include/utlist.h --suppress='*:/usr/include/*' \
	    --suppress=uninitvar --suppress=toomanyconfigs -I. lib feeder fetcher uploader bench
	shellcheck $(filter-out scripts/conform scripts/examples,$(wildcard scripts/*)) \
	    scripts/examples/gzip-store docs/model/run .ci/run tests/e2e/helpers.bash \
	    tests/e2e/journal.bash tests/e2e/s3.bash tests/e2e/fault-case tests/power/machine tests/power/try
	scripts/arrows
	$(MAKE) tidy

TIDY_C := $(wildcard lib/*.c feeder/*.c fetcher/*.c uploader/*.c)
tidy:
	printf '%s\n' $(TIDY_C) | xargs -P $$(nproc) -n 8 sh -c \
	    'clang-tidy --quiet "$$@" -- -std=c11 -D_GNU_SOURCE -I. 2>/dev/null' tidy

model:
	docs/model/run

# Each tests/fuzz/fuzz_NAME.c with its corpus, in turn; FUZZ_S is what they have together. What
# they find new stays in build-fuzz/.
FUZZ_S    ?= 60
FUZZERS   := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_MOST_input = 150000
FUZZ_SRC  := $(wildcard lib/*.c) $(filter-out feeder/feeder.c,$(wildcard feeder/*.c)) \
             $(filter-out uploader/uploader.c,$(wildcard uploader/*.c))
FUZZ_OBJ  := $(FUZZ_SRC:%.c=build-fuzz/%.o)
FUZZ_C    := clang -g -O1 -std=c11 -D_GNU_SOURCE -I. -MMD -MP -fno-sanitize-recover=all

build-fuzz/%.o: %.c
	@mkdir -p $(@D)
	$(FUZZ_C) -fsanitize=fuzzer-no-link,address,undefined -c -o $@ $<

build-fuzz/fuzz_%: tests/fuzz/fuzz_%.c $(FUZZ_OBJ)
	$(FUZZ_C) -fsanitize=fuzzer,address,undefined -o $@ $< $(FUZZ_OBJ) \
	    $(UPLOADER_LIBS)

fuzz: $(FUZZERS:%=fuzz-%)
fuzz-%: build-fuzz/fuzz_%
	@mkdir -p build-fuzz/corpus/$*
	ASAN_OPTIONS=allocator_may_return_null=1 $< -max_len=$(or $(FUZZ_MOST_$*),4096) \
	    -max_total_time=$$(($(FUZZ_S) / $(words $(FUZZERS)))) -malloc_limit_mb=0 \
	    -timeout=20 -print_final_stats=1 -artifact_prefix=build-fuzz/$*- \
	    build-fuzz/corpus/$* tests/fuzz/corpus/$*

test: unit e2e

$B/bench/null_fetcher: $B/bench/null_fetcher.o $(LIB)
$B/bench/null_fetcher: LIBS = -lzmq -lmsgpackc -lxxhash
$B/bench/bare_libcurl: $B/bench/bare_libcurl.o
$B/bench/bare_libcurl: LIBS = -lcurl

$B/bench/%: $B/bench/%.o
	@mkdir -p $(@D)
	$(CC) $(LD_ALL) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS)

BENCHES := all $B/bench/bare_libcurl
bench: $(BENCHES)
	scripts/install-deps --bench
	bench/bench --out bench/RESULTS.md

# That the benches run, at sizes that say nothing.
bench-smoke: $(BENCHES)
	scripts/install-deps --bench
	bench/bench --smoke
	bench/techniques --smoke

# The figures and plots of docs/techniques.md: 25 minutes, nine of them for batches and slow URLs.
bench-techniques: all
	scripts/install-deps --bench
	bench/techniques --out docs/techniques

run: all
	scripts/run

MANUALS := $(PROGRAMS:%=$B/man/%.1) $B/man/sluice.1
man: $(MANUALS)
$(MANUALS): scripts/man docs/man/common
$B/man/sluice.1: scripts/sluice docs/man/sluice.about $B/bin/feeder
	@mkdir -p $(@D)
	scripts/man $< > $@
$B/man/%.1: $B/bin/% docs/man/%.about
	@mkdir -p $(@D)
	scripts/man $< > $@

install: all man
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 0755 $(PROGRAMS:%=$B/bin/%) scripts/sluice $(DESTDIR)$(PREFIX)/bin
	install -m 0644 $(MANUALS) $(DESTDIR)$(PREFIX)/share/man/man1

clean:
	rm -rf build build-san build-faults build-faults-san build-fuzz

.PHONY: all man unit faults e2e chaos torture torture-all soak sanitize check tidy model fuzz test bench bench-smoke bench-techniques run install clean
.SECONDARY:
-include $(shell find $B build-fuzz -name '*.d' 2>/dev/null)
