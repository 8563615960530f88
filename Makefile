# What people type; meson and ninja do the work. Build directories: build/, build-asan/ (address and
# undefined behaviour sanitizers), build-fuzz/ (clang, libFuzzer).
#
#   make [all]      build; all programs are in build/bin/ afterwards
#   make demo       start the engine, send mail through two pipes, show what happened
#   make check      all tests (with CI=true also the sanitizers and short fuzz runs)
#   make bench-results  what accounting costs
#   make bench-suppress ten million suppressed addresses
#   make bench-ship     a million events to each kind of receiver
#   make check-asan, fuzz, bench, bench-shaping, install [DESTDIR= PREFIX=], format, clean

PREFIX ?= /usr/local
DESTDIR ?=
FUZZ_SECONDS ?= 10
BENCH_ARGS ?=
DEMO_ARGS ?=
CLANG_FORMAT ?= clang-format

WERROR := $(if $(filter true,$(CI)),true,false)
SETUP = meson setup -Dwerror=$(WERROR)
SANITIZE = -Db_sanitize=address,undefined -Db_lundef=false

# Hard links keep /proc/self/exe in build/bin, where pmtad looks for its children.
link_programs = mkdir -p $(1)/bin && \
	find $(1) -path $(1)/bin -prune -o -type f -perm -u+x -name 'pmta*' ! -name '*.*' \
		-exec ln -f -t $(1)/bin {} +

.PHONY: all demo check check-asan fuzz bench bench-shaping bench-dkim bench-results bench-suppress bench-ship install clean format build asan-build fuzz-build \
	build-deps test-deps bench-deps

all: build

build-deps:
	@tools/install-deps build
test-deps:
	@tools/install-deps build test
bench-deps:
	@tools/install-deps build bench || echo "bench: going on with what is there"

build/build.ninja: | build-deps
	$(SETUP) --prefix $(PREFIX) -Dtests=false build

build: build-deps build/build.ninja
	ninja -C build
	@$(call link_programs,build)

# The tests need more packages, so only `make check` switches them on.
build/with-tests: build/build.ninja | test-deps
	meson configure build -Dtests=true
	@touch $@

build-asan/build.ninja: | test-deps
	$(SETUP) $(SANITIZE) build-asan

build-fuzz/build.ninja: | test-deps
	CC=clang-14 $(SETUP) $(SANITIZE) -Dfuzzers=true -Dfuzz_seconds=$(FUZZ_SECONDS) build-fuzz

asan-build: test-deps build-asan/build.ninja
	ninja -C build-asan
	@$(call link_programs,build-asan)
fuzz-build: test-deps build-fuzz/build.ninja
	ninja -C build-fuzz

ifeq ($(CI),true)
check: test-deps build/with-tests build asan-build fuzz-build
	@tools/check build build-asan:unit,scenario,processes build-fuzz:fuzz
else
check: test-deps build/with-tests build
	@tools/check build
endif

check-asan: asan-build
	@tools/check build-asan:unit,scenario,processes

fuzz: fuzz-build
	@meson configure build-fuzz -Dfuzz_seconds=$(FUZZ_SECONDS) && ninja -C build-fuzz
	@tools/check build-fuzz:fuzz

demo: build
	@tools/demo $(DEMO_ARGS)

bench: bench-deps build
	@tests/bench/bench.py $(BENCH_ARGS)

bench-results: bench-deps build
	@tests/bench/bench_results.py $(BENCH_ARGS)

# The Kafka cluster is built with the tests.
bench-ship: bench-deps test-deps build/with-tests build
	@ninja -C build tests/system/kafka_cluster
	@tests/bench/bench_ship.py $(BENCH_ARGS)

bench-shaping: bench-deps build
	@tests/bench/bench_shaping.py $(BENCH_ARGS)

# bench_sign is built with the tests.
bench-suppress: test-deps build/with-tests build
	@ninja -C build tests/bench/bench_suppress
	@build/tests/bench/bench_suppress $(BENCH_ARGS)

bench-dkim: bench-deps test-deps build/with-tests build
	@ninja -C build tests/bench/bench_sign
	@tests/bench/bench_dkim.py $(BENCH_ARGS)

install: build
	@if [ "$$(cat build/.prefix 2>/dev/null)" != "$(PREFIX)" ]; then \
		meson configure build --prefix $(PREFIX) && ninja -C build && \
		echo "$(PREFIX)" >build/.prefix; fi
	DESTDIR=$(DESTDIR) meson install -C build --no-rebuild

format:
	git ls-files '*.c' '*.h' | xargs $(CLANG_FORMAT) -i

clean:
	rm -rf build build-asan build-fuzz
