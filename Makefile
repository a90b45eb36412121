# cottar: build, check, measure, install. The variables below may be given on the command line.

PREFIX ?= /usr/local
DESTDIR ?=
CARGO ?= cargo
# Seeds that `make sim` runs.
SEEDS ?= 1000

BINDIR = $(DESTDIR)$(PREFIX)/bin
MANDIR = $(DESTDIR)$(PREFIX)/share/man
PAGES = $(wildcard man/*.[1-8])

TARGET_DIR = $(or $(CARGO_TARGET_DIR),target)
BINARY = $(TARGET_DIR)/release/cottar
STATIC = $(TARGET_DIR)/static/cottar

# The musl target if this toolchain has its library, else glibc linked in. Flags for the latter go to
# a named target, so that build scripts and procedural macros are still built the ordinary way.
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
MUSL = $(patsubst %-gnu,%-musl,$(HOST))
HAS_MUSL = $(wildcard $(shell rustc --print sysroot)/lib/rustlib/$(MUSL)/lib)
STATIC_TARGET = $(if $(HAS_MUSL),$(MUSL),$(HOST))
STATIC_FLAGS = -C target-feature=+crt-static

.PHONY: all static check fmt clippy doc lint-man test interop sim bench demo install uninstall

all:
	$(CARGO) build --locked --release

static:
	RUSTFLAGS="$(RUSTFLAGS) $(STATIC_FLAGS)" \
		$(CARGO) build --locked --release --target $(STATIC_TARGET)
	@mkdir -p $(TARGET_DIR)/static
	cp $(TARGET_DIR)/$(STATIC_TARGET)/release/cottar $(STATIC)
	@ls -l $(STATIC)

# Everything that must pass. The tests come last: their result is the last thing said.
check: fmt clippy doc lint-man test

fmt:
	$(CARGO) fmt --check

clippy:
	$(CARGO) clippy --locked --all-targets -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items

lint-man:
	@if command -v mandoc >/dev/null; then \
		echo "mandoc -Tlint -Wwarning $(PAGES)"; \
		mandoc -Tlint -Wwarning $(PAGES); \
	else \
		echo "mandoc is not installed: manual pages not checked"; \
	fi

test:
	$(CARGO) test --locked

interop:
	COTTAR_INTEROP=require $(CARGO) test --locked --test interop

sim:
	COTTAR_SIM_SEEDS=$(SEEDS) $(CARGO) test --locked --test sim

# Every figure beside the reference's, measured with the static binary.
bench: static
	COTTAR_BIN=$(abspath $(STATIC)) $(CARGO) bench --locked --bench bench

demo:
	@$(CARGO) build --locked --quiet
	@sh tests/demo.sh $(TARGET_DIR)/debug/cottar

install: all
	install -d $(BINDIR)
	install -m 755 $(BINARY) $(BINDIR)/cottar
	for page in $(PAGES); do \
		section=$(MANDIR)/man$${page##*.}; \
		install -d $$section && install -m 644 $$page $$section/ || exit 1; \
	done

uninstall:
	rm -f $(BINDIR)/cottar
	for page in $(PAGES); do \
		rm -f $(MANDIR)/man$${page##*.}/$$(basename $$page); \
	done
