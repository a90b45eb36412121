# cottar: build, check, measure, install. The variables below may be given on the command line.

CARGO ?= cargo
# Seeds that `make sim` runs, and the first of them: `make sim SEEDS=1000 FROM=5000`.
SEEDS ?= 1000
FROM ?= 0
# Nodes of the cluster that `make scale` simulates.
NODES ?= 1000
# What `make soak` does: for how many seconds, with which losses of UDP in per cent, a run each, from which
# seed (a new one if there is none), if MIXED is set, with a Serf as every other agent, and with which
# profile, lan or wan.
SECONDS ?= 60
LOSS ?= 0 10 25
SEED ?=
MIXED ?=
PROFILE ?= lan
# Figures that `make bench` measures; all if there are none.
FIGURES ?=
# Which decoder `make fuzz` fuzzes, all if there is none, and when a target ends: after so many runs, or, if
# there is no number, so many SECONDS.
DECODER ?=
RUNS ?=
# Agents that `make many` starts.
AGENTS ?= 100

PAGES = $(wildcard man/*.[1-8])

TARGET_DIR = $(or $(CARGO_TARGET_DIR),target)
BINARY = $(TARGET_DIR)/release/cottar
STATIC = $(TARGET_DIR)/static/cottar

# A static binary needs a C library to link in. In order of preference: the musl target of this
# toolchain; musl with a standard library built from source, which Debian's packages rustc-web,
# cargo-web, rust-web-src, musl-dev, musl-tools and lld allow; glibc. Flags for glibc go to a named target,
# so that build scripts and procedural macros are still built the ordinary way.
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
MUSL = $(patsubst %-gnu,%-musl,$(HOST))
MUSL_CRT = /usr/lib/$(patsubst %-unknown-linux-musl,%,$(MUSL))-linux-musl/rcrt1.o
HAS_MUSL = $(wildcard $(shell rustc --print sysroot)/lib/rustlib/$(MUSL)/lib)
HAS_STD_SOURCE = $(and $(wildcard $(MUSL_CRT)),$(wildcard /usr/bin/musl-gcc),$(wildcard /usr/bin/cargo),\
	$(wildcard /usr/lib/rustlib/src/rust/library/std))
STATIC_KIND ?= $(if $(HAS_MUSL),musl,$(if $(HAS_STD_SOURCE),musl-from-source,glibc))

.PHONY: all help quick static static-musl static-musl-from-source static-glibc dynamic-from-source check fmt \
	clippy features doc lint-man test interop sim scale soak fuzz bench many demo

# Builds are the same in every folder and for everybody: paths of this machine stay out of the binary.
# (Cargo leaves all flags out of its hashes when it sees such a prefix.)
REMAP = --remap-path-prefix=$(CURDIR)=. --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)/registry/src=crates
# No binary that panic = "abort" ends needs tables for unwinding.
FLAGS = $(RUSTFLAGS) $(REMAP) -C force-unwind-tables=no
# What cargo is told besides: `make FEATURES='--no-default-features --features syslog'`, `make OFFLINE=--offline`.
FEATURES ?=
OFFLINE ?=
BUILD = build --locked --release $(OFFLINE) $(FEATURES)

# The commit that `cottar version` names, with a + if tracked files have changed since. The archive of a release
# names it in dist/commit, and that counts more.
COMMIT = $(shell [ -e .git ] && echo "$$(git rev-parse --short=12 HEAD 2>/dev/null)$$(git diff --quiet HEAD || echo +)")
all static-musl static-glibc static-musl-from-source dynamic-from-source: export COTTAR_COMMIT = $(COMMIT)

# Relocations in a quarter of the bytes, which the C library of this machine must be able to apply.
RELR ?= $(shell getconf GNU_LIBC_VERSION 2>/dev/null | awk '{ split($$2, v, "."); \
	if (v[1] > 2 || v[2] >= 36) print "-C link-arg=-Wl,-z,pack-relative-relocs" }')

# Functions whose code is the same are kept once, if lld links, or can be asked to: one that also
# understands the flags for relocations ($(2)).
FOLD = -C link-arg=-Wl,--icf=all
FOLD_BY_LLD = -C link-arg=-fuse-ld=lld $(FOLD)
links = dir=$$(mktemp -d) && echo 'fn main() {}' | \
	$(1) $(2) -C link-arg=-Wl,--fatal-warnings --out-dir "$$dir" - 2>/dev/null && echo '$(3)'; rm -rf "$$dir"
try_folding = $(shell $(call links,$(1),$(2) $(3),$(3)))
folding = $(or $(call try_folding,$(1),$(2),$(FOLD)),$(call try_folding,$(1),$(2),$(FOLD_BY_LLD)))

# Relocations are packed in the static binary, too, if the linker is lld. Code of our own applies them,
# because musl cannot before 1.2.4.
PACK = -C link-arg=-Wl,--pack-dyn-relocs=relr
APPLY_CFLAGS = -Os -fPIE -fno-stack-protector
APPLY = -C link-arg=$(abspath $(TARGET_DIR))/static/apply-relr.o -C link-arg=-Wl,--wrap=__libc_start_main
packing = $(if $(call try_folding,$(1),$(2),$(PACK)),$(PACK) $(APPLY))

all: ## build the release binary, target/release/cottar
	RUSTFLAGS="$(FLAGS) $(RELR) $(call folding,rustc,$(RELR))" $(CARGO) $(BUILD)

RUN = $(STATIC)
include dist/cross.mk

static: static-$(STATIC_KIND) ## the static binary, target/static/cottar, or for another machine: TARGET=...
	@if readelf -d $(STATIC) | grep NEEDED; then echo "$(STATIC) is not static" >&2; exit 1; fi
	@$(RUN) version
	@ls -l $(STATIC)

STATIC_FLAGS = $(FLAGS) -C target-feature=+crt-static

static-musl: TARGET = $(MUSL)
static-glibc: TARGET = $(HOST)
static-musl static-glibc:
	RUSTFLAGS="$(STATIC_FLAGS) $(call folding,rustc --target $(TARGET))" $(CARGO) $(BUILD) --target $(TARGET)
	$(call keep_static,$(TARGET))

# The standard library's sources fit one compiler alone, hence Debian's, and building them is a
# feature that only a bootstrapping compiler may use. Its unwinder is looked for under LLVM's name, where
# one stands that finds nothing, and musl-gcc has no start file for a static position-independent
# program. What the standard library does in two ways it does in the smaller one.
static-musl-from-source: FOLDING = $(call folding,/usr/bin/rustc)
static-musl-from-source:
	@mkdir -p $(TARGET_DIR)/static
	musl-gcc -Os -c -o $(TARGET_DIR)/static/no-unwinder.o dist/no-unwinder.c
	musl-gcc $(APPLY_CFLAGS) -c -o $(TARGET_DIR)/static/apply-relr.o dist/apply-relr.c
	ar rcsD $(TARGET_DIR)/static/libunwind.a $(TARGET_DIR)/static/no-unwinder.o
	RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc \
		RUSTFLAGS="$(STATIC_FLAGS) -C linker=musl-gcc -C link-self-contained=no \
		-C link-arg=-nostartfiles -C link-arg=$(MUSL_CRT) -C link-arg=-Wl,-Bstatic -C link-arg=-lc \
		-C link-arg=-Wl,--no-dynamic-linker $(FOLDING) $(call packing,/usr/bin/rustc,$(FOLDING)) \
		-L native=$(abspath $(TARGET_DIR))/static" \
		/usr/bin/cargo $(BUILD) --target $(MUSL) \
		-Z build-std=std,panic_abort -Z build-std-features=optimize_for_size
	$(call keep_static,$(MUSL))

# The dynamic binary likewise, for those who want it small: without the part of the standard library
# that reads debugging information to print backtraces, which a stripped binary has none of.
dynamic-from-source:
	RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc \
		RUSTFLAGS="$(FLAGS) $(RELR) $(call folding,/usr/bin/rustc,$(RELR))" \
		/usr/bin/cargo $(BUILD) --target $(HOST) \
		-Z build-std=std,panic_abort -Z build-std-features=optimize_for_size
	@ls -l $(TARGET_DIR)/$(HOST)/release/cottar

define keep_static
	@mkdir -p $(TARGET_DIR)/static
	cp $(TARGET_DIR)/$(1)/release/cottar $(STATIC)
endef

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# What needs no agents and no clusters: for the minute between two edits.
quick: fmt ## formatting, lints and the tests that start nothing
	$(CARGO) clippy --locked --lib --bins -- -D warnings
	$(CARGO) test --locked --lib $(QUICK:%=--test %)

# Everything that must pass. The tests come last, and then what this machine cannot test.
check: export COTTAR_SKIPPED = $(abspath $(TARGET_DIR)/skipped)
check: ## formatting, lints, documentation, manual pages and all tests
	@mkdir -p $(TARGET_DIR) && : >$(COTTAR_SKIPPED)
	@$(MAKE) --no-print-directory fmt clippy features doc lint-man lint-dist test
	@sh tests/live/skipped.sh count $(COTTAR_SKIPPED)

fmt:
	$(CARGO) fmt --check

clippy:
	$(CARGO) clippy --locked --all-targets -- -D warnings

# Whatever a build leaves out, the rest is whole: it is built without a warning, says what it has, refuses
# by name what it lacks, and runs. Only this package is built anew for each set, in the quickest way;
# `test` does the same with all features.
FEATURE_SETS = none mdns syslog telemetry mdns,syslog mdns,telemetry syslog,telemetry
TEST_FEATURES = $(CARGO) test --locked --quiet --no-default-features --test features \
	--config profile.dev.package.cottar.opt-level=0 --config profile.dev.package.cottar.debug=false
features: export CARGO_INCREMENTAL = 0
features:
	@for set in $(FEATURE_SETS); do \
		said=$$($(TEST_FEATURES) --features "$${set#none}" --no-run 2>&1) && [ -z "$$said" ] && \
		said=$$($(TEST_FEATURES) --features "$${set#none}" 2>&1) || \
			{ printf '%s\n' "with the features $$set:" "$$said" >&2; exit 1; }; \
		echo "with the features $$set: $$(printf '%s' "$$said" | sed -n 's/^test result: //p')"; \
	done
	@echo "clippy with no features, tests too"
	@$(CARGO) clippy --locked --quiet --no-default-features --all-targets -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items

lint-man:
	@if command -v mandoc >/dev/null; then \
		echo "mandoc -Tlint -Wwarning $(PAGES)"; \
		mandoc -Tlint -Wwarning $(PAGES); \
	else \
		sh tests/live/skipped.sh note "manual pages" "no \`mandoc\`"; \
	fi

# Most suites wait for agents rather than for the processor, and can do so for many at a time, most of all
# the mixed clusters. Those that compute run beside them and let them go first. What runs in the background
# is printed at the end.
COMPUTING = architecture fuzz manual results rpc sim vectors
SUITES = $(basename $(notdir $(wildcard tests/*.rs))) $(patsubst tests/%/main.rs,%,$(wildcard tests/*/main.rs))
QUICK = architecture fuzz results rpc vectors
WAITING = $(filter-out $(COMPUTING) interop,$(SUITES))

test: export RUST_TEST_THREADS ?= 8
test: ## all tests alone
	$(CARGO) test --locked --no-run
	@logs=$$(mktemp -d); trap 'kill $$computing $$mixed 2>/dev/null; rm -rf "$$logs"' EXIT; \
	nice -n 5 $(CARGO) test --locked --lib --bins $(COMPUTING:%=--test %) >"$$logs/1" 2>&1 & computing=$$!; \
	RUST_TEST_THREADS=$$((3 * RUST_TEST_THREADS)) $(CARGO) test --locked --test interop >"$$logs/2" 2>&1 & mixed=$$!; \
	$(CARGO) test --locked $(WAITING:%=--test %); failed=$$?; \
	wait $$mixed || failed=1; mixed=; cat "$$logs/2"; \
	wait $$computing || failed=1; computing=; cat "$$logs/1"; \
	[ $$failed -eq 0 ]
	$(CARGO) test --locked --doc

interop: export RUST_TEST_THREADS ?= 24
interop: ## the tests of clusters mixed with Serf, which must be installed
	COTTAR_INTEROP=require $(CARGO) test --locked --test interop

sim: ## simulated clusters: SEEDS=1000 of them, FROM=0
	COTTAR_SIM_SEEDS=$(SEEDS) COTTAR_SIM_FROM=$(FROM) $(CARGO) test --locked --test sim

# Joins, an event, failures and a partition, with the time, the bytes and the processor time that each
# takes. The nodes take some 400 bytes for each of their members: 3,000 nodes 4 GB.
scale: ## one large simulated cluster: NODES=1000 of it
	COTTAR_SCALE_NODES=$(NODES) $(CARGO) test --locked --config profile.dev.opt-level=3 --test sim -- \
		--ignored --exact scale::scale --nocapture

# Eight agents that are killed, frozen, told to leave and started again at random while events are fired;
# the counts say which promises of delivery held.
soak: ## live agents under chaos: SECONDS=60, LOSS="0 10 25", SEED, MIXED, PROFILE=lan (root)
	COTTAR_SOAK_SECONDS=$(SECONDS) COTTAR_SOAK_LOSS="$(LOSS)" COTTAR_SOAK_SEED=$(SEED) COTTAR_SOAK_MIXED=$(MIXED) \
		COTTAR_SOAK_PROFILE=$(PROFILE) $(CARGO) test --locked --test soak -- --ignored --exact soak --nocapture

# A package of its own, built with the instrumentation of libFuzzer and with the versions of this one's
# crates. What is found and the growing corpora stay in the target folder.
FUZZ_TARGETS = $(patsubst tests/fuzz/targets/targets/%.rs,%,$(wildcard tests/fuzz/targets/targets/*.rs))
FUZZ_DIR = $(abspath $(TARGET_DIR))/fuzz
FUZZ_FLAGS = --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
	-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
	-Cllvm-args=-sanitizer-coverage-trace-compares
fuzz: ## decoders under libFuzzer: DECODER=datagram RUNS=1000000, or SECONDS=60
	COTTAR_FUZZ_CORPUS=$(FUZZ_DIR)/corpus $(CARGO) test --locked --quiet --test fuzz -- --ignored --exact corpus::write
	cp Cargo.lock tests/fuzz/targets/Cargo.lock
	CARGO_TARGET_DIR=$(FUZZ_DIR) RUSTFLAGS="$(FUZZ_FLAGS)" $(CARGO) build --release --target $(HOST) \
		--manifest-path tests/fuzz/targets/Cargo.toml
	@mkdir -p $(FUZZ_DIR)/artifacts; for target in $(or $(DECODER),$(FUZZ_TARGETS)); do \
		echo "fuzzing $$target"; \
		$(FUZZ_DIR)/$(HOST)/release/$$target $(if $(RUNS),-runs=$(RUNS),-max_total_time=$(SECONDS)) \
			-max_len=1500 -timeout=10 -print_final_stats=1 -artifact_prefix=$(FUZZ_DIR)/artifacts/$$target- \
			$(FUZZ_DIR)/corpus/$$target || exit 1; \
	done

# Every figure beside the reference's, measured with the static binary, then the single steps of the core.
# Or only some: make bench FIGURES="idle members". They are printed, and kept in benches/RESULTS.md.
bench: static ## figures beside the reference's for benches/RESULTS.md, all or FIGURES="idle members"
	COTTAR_BIN=$(abspath $(STATIC)) $(CARGO) bench --locked --bench bench -- $(FIGURES)
	$(if $(FIGURES),,$(CARGO) bench --locked --bench micro)

# How long so many agents take to know each other, what each costs, and how long an event takes to reach all.
many: all ## many agents on this machine: AGENTS=100 (root)
	COTTAR_BIN=$(abspath $(BINARY)) $(CARGO) bench --locked --bench many -- $(AGENTS)

demo: ## two agents and their handlers, on loopback
	@$(CARGO) build --locked --quiet
	@sh tests/dist/demo.sh $(TARGET_DIR)/debug/cottar

include dist/install.mk
include dist/checks.mk
