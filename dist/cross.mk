# Static binaries for other machines, and a check of each under qemu-user:
#
#   make static TARGET=aarch64-unknown-linux-musl
#   make check-arch TARGET=aarch64-unknown-linux-musl
#
# One compiler and one linker serve all targets: Debian's clang and lld of the LLVM that rustc-web is built with.
# The C library is Debian's musl-dev of the other architecture. dist/README.md names the packages.

LLVM ?= 22

# Rust's target, Debian's architecture, clang's target, qemu's name. A musl that is built from its source
# package has its flags behind these: routers have no floating point, and Debian's mipsel has.
CROSS = \
	aarch64-unknown-linux-musl:arm64:aarch64-linux-musl:aarch64 \
	armv7-unknown-linux-musleabihf:armhf:armv7-linux-musleabihf:arm \
	i686-unknown-linux-musl:i386:i686-linux-musl:i386 \
	mipsel-unknown-linux-musl:mipsel:mipsel-linux-musl:mipsel:-mips32r2_-msoft-float \
	s390x-unknown-linux-musl:s390x:s390x-linux-musl:s390x

TARGETS = $(foreach row,$(CROSS),$(firstword $(subst :, ,$(row))))
ROW = $(subst :, ,$(filter $(TARGET):%,$(CROSS)))
DEBIAN_ARCH = $(word 2,$(ROW))
CLANG = clang-$(LLVM) --target=$(word 3,$(ROW)) $(subst _, ,$(word 5,$(ROW)))
QEMU_NAME = $(word 4,$(ROW))
QEMU = qemu-$(QEMU_NAME)-static

ifeq ($(origin TARGET),command line)
ifneq ($(filter $(TARGET),$(TARGETS)),)
STATIC_KIND = cross
STATIC = $(TARGET_DIR)/static/$(TARGET)/cottar
RUN = $(if $(shell command -v $(QEMU)),$(QEMU) $(STATIC),: $(STATIC))
else ifneq ($(filter-out $(HOST) $(MUSL),$(TARGET)),)
$(error no static binary can be built for $(TARGET); targets: $(MUSL) $(TARGETS))
endif
endif

# Where the C library and our objects for a target are.
SYSROOT = $(abspath $(TARGET_DIR))/static/$(TARGET)
# 64-bit times on 32-bit machines, as musl has had since 1.2.0; Rust's libc wants to be asked.
TIME64 = RUST_LIBC_UNSTABLE_MUSL_V1_2_3=1
CROSS_FLAGS = $(STATIC_FLAGS) -C linker=$(firstword $(CLANG)) $(patsubst %,-C link-arg=%,$(wordlist 2,9,$(CLANG))) \
	-C link-self-contained=no -C link-arg=-fuse-ld=lld -C link-arg=-nostartfiles -C link-arg=$(SYSROOT)/lib/$(START) \
	-L native=$(SYSROOT)/lib -C link-arg=-Wl,-Bstatic -C link-arg=-lc -C link-arg=-Wl,--no-dynamic-linker \
	$(PIE) $(FOLD) $(CROSS_PACK)
# rustc asks for a static program at fixed addresses here, although its code is position-independent. It stays
# at fixed addresses on MIPS alone, whose start code adds the base to every entry of the table of addresses, so
# that symbols that are not there (the standard library asks for some) would seem to be.
FIXED = $(filter mips%,$(TARGET))
START = $(if $(FIXED),crt1.o,rcrt1.o)
PIE = $(if $(FIXED),,-C link-arg=-Wl,-pie -C link-arg=-Wl,-z,text)
CROSS_PACK = $(if $(FIXED),,$(PACK) -C link-arg=$(SYSROOT)/apply-relr.o \
	-C link-arg=-Wl,--wrap=__libc_start_main -C link-arg=-Wl,-e,start_relocated)
CROSS_CARGO = $(TIME64) RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc RUSTFLAGS="$(CROSS_FLAGS)" /usr/bin/cargo
BUILD_STD = --target $(TARGET) -Z build-std=std,panic_abort -Z build-std-features=optimize_for_size

.PHONY: static-cross cross-target cross-sysroot check-arch test-arch

cross-target:
	@[ -n "$(ROW)" ] || { echo "say which machine: TARGET=..., one of $(TARGETS)" >&2; exit 1; }

cross-sysroot: cross-target
	sh dist/cross.sh $(DEBIAN_ARCH) $(SYSROOT) $(CLANG)
	$(if $(CROSS_PACK),$(CLANG) -isystem $(SYSROOT)/include $(APPLY_CFLAGS) -c -o $(SYSROOT)/apply-relr.o dist/apply-relr.c)

static-cross: export COTTAR_COMMIT = $(COMMIT)
static-cross: cross-sysroot
	$(CROSS_CARGO) $(BUILD) $(BUILD_STD)
	cp $(TARGET_DIR)/$(TARGET)/release/cottar $(STATIC)

check-arch: cross-target static test-arch ## the tests of another machine's binary under qemu-user: TARGET=...
	$(CARGO) build --locked
	sh dist/check/qemu.sh $(QEMU_NAME) sh dist/check/arch.sh $(STATIC) $(TARGET_DIR)/debug/cottar

# qemu-user leaves some netlink attributes in little-endian order, and getifaddrs(3) never comes to their end.
NOT_UNDER_QEMU = $(if $(filter s390x,$(DEBIAN_ARCH)),--skip interfaces_are_checked --skip os::sys::interfaces)
# Each test is a process of its own, because no unwinder is linked in. DEV and TESTS add arguments of cargo's and
# of the tests', if any.
TEST_ARCH = test --locked --lib --test vectors $(BUILD_STD) -Z panic-abort-tests $(DEV)
test-arch: export CARGO_PROFILE_DEV_PANIC = abort
test-arch: cross-sysroot
	$(CROSS_CARGO) $(TEST_ARCH) --no-run
	sh dist/check/qemu.sh $(QEMU_NAME) env $(CROSS_CARGO) $(TEST_ARCH) -- $(NOT_UNDER_QEMU) $(TESTS)
