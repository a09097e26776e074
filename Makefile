# Builds everything into build/; `make SAN=address,undefined` builds a sanitized twin into build-san/.
CC      ?= gcc
PREFIX  ?= /usr/local
SAN     ?=
B       := build$(if $(SAN),-san)
PKGS    := libzmq libcurl msgpack libcrypto zlib libxxhash
WARN    := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla
CFLAGS  ?= -O2 -g
ALL_C   := -std=c11 -D_GNU_SOURCE -I. $(WARN) $(CFLAGS) -pthread -MMD -MP \
           $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)
LD_ALL  := -pthread $(if $(SAN),-fsanitize=$(SAN))

LIB      := $B/libsluice.a
objects   = $(patsubst %.c,$B/%.o,$(wildcard $(1)/*.c))
PROGRAMS := feeder fetcher uploader
UNIT     := $(patsubst tests/unit/%.c,$B/unit/%,$(wildcard tests/unit/*.c))
SHIMS    := $(patsubst tests/shim/%.c,$B/shim/%.so,$(wildcard tests/shim/*.c))

all: $(PROGRAMS:%=$B/bin/%) $B/bin/origin $(SHIMS)

# An archive, so that a library only one program needs is linked into that one only.
$(LIB): $(call objects,lib)
	rm -f $@ && $(AR) rcs $@ $^

$B/bin/feeder:   $(call objects,feeder) $(LIB)
$B/bin/feeder:   LIBS = -lzmq -lmsgpackc -lxxhash -ljansson
$B/bin/fetcher:  $(call objects,fetcher) $(LIB)
$B/bin/fetcher:  LIBS = -lzmq -lmsgpackc -lcurl -lcrypto -lz -lxxhash
$B/bin/uploader: $(call objects,uploader) $(LIB)
$B/bin/uploader: LIBS = -lzmq -lmsgpackc -lcrypto -lxxhash
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
	$(CC) $(LD_ALL) -o $@ $^ -lcmocka -lzmq -lmsgpackc -lcurl -lcrypto -lz -lxxhash -ljansson

unit: $(UNIT)
	@set -e; for t in $(UNIT); do $$t; done

e2e: all
	BATS_TEST_TIMEOUT=120 BIN=$(CURDIR)/$B/bin prove --timer --exec bats tests/e2e/*.bats

# What takes too long for every day: half a million URLs, a body of 2 GiB.
soak: all torture-all
	LONG=500000 LARGE=2147483648 SLACK_KB=0 BIN=$(CURDIR)/$B/bin prove --timer --exec bats \
	    tests/e2e/35-constant-memory.bats

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

# Unit and end-to-end tests once more, under the sanitizers.
sanitize:
	RSS_MOST_KB=2000000 $(MAKE) SAN=address,undefined CFLAGS='-O1 -g' unit e2e

# uninitvar: cppcheck 2.10 takes HASH_ITER's second cursor for unset; gcc and the sanitizers look
# after that.
check:
	cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,portability --inline-suppr \
	    --suppress=missingIncludeSystem --include=/usr/include/uthash.h \
	    --include=/usr/include/utlist.h --suppress='*:/usr/include/*' \
	    --suppress=uninitvar --suppress=toomanyconfigs -I. lib feeder fetcher uploader
	shellcheck scripts/* bench/bench docs/model/run .ci/run tests/e2e/helpers.bash
	scripts/arrows

model:
	docs/model/run

FUZZ_S ?= 60
fuzz:
	@mkdir -p build-fuzz
	clang -g -O1 -std=c11 -D_GNU_SOURCE -I. -fsanitize=fuzzer,address,undefined -o build-fuzz/msg \
	    tests/fuzz/fuzz_msg.c lib/msg.c lib/buf.c -lmsgpackc
	@mkdir -p build-fuzz/corpus
	ASAN_OPTIONS=allocator_may_return_null=1 build-fuzz/msg -max_total_time=$(FUZZ_S) -max_len=4096 -malloc_limit_mb=0 -print_final_stats=1 build-fuzz/corpus \
	    tests/fuzz/corpus/msg

test: unit e2e

bench: all
	bench/bench

run: all
	scripts/run

install: all
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 0755 $(PROGRAMS:%=$B/bin/%) scripts/sluice $(DESTDIR)$(PREFIX)/bin

clean:
	rm -rf build build-san build-fuzz

.PHONY: all unit e2e soak torture torture-all sanitize check model fuzz test bench run install clean
.SECONDARY:
-include $(shell find $B -name '*.d' 2>/dev/null)
