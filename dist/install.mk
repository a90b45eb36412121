# Installation: `make install`, `make uninstall`, `make install-serf-link`. dist/README.md describes
# the variables, all of which may be given on the command line.

PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
STATEDIR ?= /var/lib
RUNDIR ?= /run
DESTDIR ?=

BINDIR ?= $(PREFIX)/bin
LIBEXECDIR ?= $(PREFIX)/libexec
DATADIR ?= $(PREFIX)/share
MANDIR ?= $(DATADIR)/man
DOCDIR ?= $(DATADIR)/doc/cottar
LICENSEDIR ?= $(DOCDIR)
BASHCOMPDIR ?= $(DATADIR)/bash-completion/completions
ZSHCOMPDIR ?= $(DATADIR)/zsh/site-functions
FISHCOMPDIR ?= $(DATADIR)/fish/vendor_completions.d
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
INITDIR ?= $(SYSCONFDIR)/init.d
CONFDIR ?= $(SYSCONFDIR)/conf.d

# Whose service is installed: systemd, openrc, openwrt, or none.
INIT_SYSTEM ?= systemd
# Anything here makes `make install` make the link, too.
SERF_LINK ?=

INIT_KNOWN = systemd openrc openwrt none
ifeq ($(filter $(INIT_SYSTEM),$(INIT_KNOWN)),)
$(error INIT_SYSTEM is '$(INIT_SYSTEM)'; it must be one of: $(INIT_KNOWN))
endif

# Those that cottar-tutorial(7) shows.
TUTORIAL = deploy page rolling upstreams web.json web1.json
EXAMPLES = cluster.json members $(TUTORIAL:%=tutorial/%)
DOCUMENTS = README.md dist/CHANGELOG.md
LICENCES = LICENSE dist/licences/third-party.txt
ETC = $(SYSCONFDIR)/cottar

# $(call fill,mode,file,place): installs a template with the paths of this installation in it.
define fill
install -d "$(DESTDIR)$(dir $(3))"
sed -e 's|@BINDIR@|$(BINDIR)|g' -e 's|@SYSCONFDIR@|$(SYSCONFDIR)|g' -e 's|@STATEDIR@|$(STATEDIR)|g' \
	-e 's|@RUNDIR@|$(RUNDIR)|g' -e 's|@LIBEXECDIR@|$(LIBEXECDIR)|g' "$(2)" >"$(DESTDIR)$(3).new"
chmod $(1) "$(DESTDIR)$(3).new"
mv -f "$(DESTDIR)$(3).new" "$(DESTDIR)$(3)"
endef

# What the completions take from the table of flags is written into them; a test fails when it is not theirs.
.PHONY: completions
completions:
	COTTAR_COMPLETIONS=write $(CARGO) test --locked --test dist -- --exact completions::the_files_are_those_of_the_table

# So does the list of licences follow Cargo.lock.
.PHONY: licences
licences:
	COTTAR_LICENCES=write $(CARGO) test --locked --test dist -- --exact licences::the_list_is_that_of_the_crates_that_are_linked_in

# Each part of an installation can be had alone: OpenWrt, for one, takes no manual pages.
PARTS = program configuration manual completions documents
.PHONY: install uninstall install-serf-link $(PARTS:%=install-%) $(INIT_KNOWN:%=install-%)

# A BINARY that was named on the command line is installed as it is.
BUILT = $(if $(filter command%,$(origin BINARY)),,all)

install: $(BUILT) $(PARTS:%=install-%) install-$(INIT_SYSTEM) $(if $(SERF_LINK),install-serf-link) ## install under PREFIX=/usr/local and DESTDIR

install-program: $(BUILT)
	install -d "$(DESTDIR)$(BINDIR)"
	install -m 755 "$(BINARY)" "$(DESTDIR)$(BINDIR)/cottar"

install-manual:
	for page in $(PAGES); do \
		section="$(DESTDIR)$(MANDIR)/man$${page##*.}"; \
		install -d "$$section" && install -m 644 $$page "$$section/" && \
		sed 's|/usr/share/doc/cottar|$(DOCDIR)|' $$page >"$$section/$${page#man/}" || exit 1; \
	done

install-completions:
	install -d "$(DESTDIR)$(BASHCOMPDIR)" "$(DESTDIR)$(ZSHCOMPDIR)" "$(DESTDIR)$(FISHCOMPDIR)"
	install -m 644 dist/completions/cottar.bash "$(DESTDIR)$(BASHCOMPDIR)/cottar"
	install -m 644 dist/completions/_cottar "$(DESTDIR)$(ZSHCOMPDIR)/_cottar"
	install -m 644 dist/completions/cottar.fish "$(DESTDIR)$(FISHCOMPDIR)/cottar.fish"

install-documents:
	install -d "$(DESTDIR)$(DOCDIR)" "$(DESTDIR)$(LICENSEDIR)"
	install -m 644 $(DOCUMENTS) "$(DESTDIR)$(DOCDIR)/"
	install -m 644 $(LICENCES) "$(DESTDIR)$(LICENSEDIR)/"
	$(call fill,644,dist/examples/cluster.json,$(DOCDIR)/examples/cluster.json)
	install -m 755 dist/examples/members "$(DESTDIR)$(DOCDIR)/examples/members"
	install -d "$(DESTDIR)$(DOCDIR)/examples/tutorial"
	for example in $(TUTORIAL); do \
		case $$example in *.json) mode=644 ;; *) mode=755 ;; esac; \
		install -m $$mode dist/examples/tutorial/$$example "$(DESTDIR)$(DOCDIR)/examples/tutorial/" || exit 1; \
	done

install-configuration:
	install -d -m 755 "$(DESTDIR)$(ETC)/handlers.d"
	if [ -e "$(DESTDIR)$(ETC)/cottar.json" ]; then \
		echo "$(DESTDIR)$(ETC)/cottar.json is there and stays as it is"; \
	else \
		$(MAKE) --no-print-directory write-configuration; \
	fi

.PHONY: write-configuration
write-configuration:
	$(call fill,644,dist/examples/cottar.json,$(ETC)/cottar.json)

install-systemd:
	$(call fill,644,dist/systemd/cottar.service,$(UNITDIR)/cottar.service)
	$(call fill,644,dist/systemd/sysusers.conf,$(SYSUSERSDIR)/cottar.conf)
	$(call fill,644,dist/systemd/tmpfiles.conf,$(TMPFILESDIR)/cottar.conf)
	install -d "$(DESTDIR)$(DOCDIR)/examples"
	install -m 644 dist/systemd/loosen.conf "$(DESTDIR)$(DOCDIR)/examples/loosen.conf"

# Restarts the agent where the init would restart always or never.
define keep
install -d "$(DESTDIR)$(LIBEXECDIR)/cottar"
install -m 755 dist/openrc/keep.sh "$(DESTDIR)$(LIBEXECDIR)/cottar/keep"
endef

install-openrc:
	$(keep)
	$(call fill,755,dist/openrc/cottar.initd,$(INITDIR)/cottar)
	$(call fill,644,dist/openrc/cottar.confd,$(CONFDIR)/cottar)

install-openwrt:
	$(keep)
	$(call fill,755,dist/openwrt/cottar.init,$(INITDIR)/cottar)

install-none:

# The name of the reference, for scripts that call it.
install-serf-link:
	install -d "$(DESTDIR)$(BINDIR)" "$(DESTDIR)$(MANDIR)/man1" "$(DESTDIR)$(BASHCOMPDIR)" \
		"$(DESTDIR)$(FISHCOMPDIR)"
	ln -sf cottar "$(DESTDIR)$(BINDIR)/serf"
	ln -sf cottar.1 "$(DESTDIR)$(MANDIR)/man1/serf.1"
	ln -sf cottar "$(DESTDIR)$(BASHCOMPDIR)/serf"
	ln -sf cottar.fish "$(DESTDIR)$(FISHCOMPDIR)/serf.fish"

# What the administrator has changed or added stays: the configuration unless it is as it was
# installed, the user, the state. The link is removed if it is ours.
uninstall: ## remove what install put there
	for link in "$(BINDIR)/serf" "$(MANDIR)/man1/serf.1" "$(BASHCOMPDIR)/serf" "$(FISHCOMPDIR)/serf.fish"; do \
		case "$$(readlink "$(DESTDIR)$$link")" in \
			cottar|cottar.1|cottar.fish) rm -f "$(DESTDIR)$$link" ;; \
		esac; \
	done
	rm -f "$(DESTDIR)$(BINDIR)/cottar"
	for page in $(PAGES); do \
		rm -f "$(DESTDIR)$(MANDIR)/man$${page##*.}/$$(basename $$page)"; \
	done
	rm -f "$(DESTDIR)$(BASHCOMPDIR)/cottar" "$(DESTDIR)$(ZSHCOMPDIR)/_cottar" \
		"$(DESTDIR)$(FISHCOMPDIR)/cottar.fish"
	rm -f "$(DESTDIR)$(UNITDIR)/cottar.service" "$(DESTDIR)$(SYSUSERSDIR)/cottar.conf" \
		"$(DESTDIR)$(TMPFILESDIR)/cottar.conf"
	for script in "$(DESTDIR)$(INITDIR)/cottar"; do \
		if grep -qs '$(BINDIR)/cottar"\{0,1\} agent ' "$$script"; then \
			rm -f "$$script" "$(DESTDIR)$(CONFDIR)/cottar"; \
		fi; \
	done
	rm -f "$(DESTDIR)$(LIBEXECDIR)/cottar/keep"
	rm -f $(foreach file,$(DOCUMENTS),"$(DESTDIR)$(DOCDIR)/$(notdir $(file))")
	rm -f $(foreach file,$(LICENCES),"$(DESTDIR)$(LICENSEDIR)/$(notdir $(file))")
	rm -f $(foreach example,$(EXAMPLES) loosen.conf,"$(DESTDIR)$(DOCDIR)/examples/$(example)")
	if sed -e 's|@STATEDIR@|$(STATEDIR)|g' -e 's|@RUNDIR@|$(RUNDIR)|g' -e 's|@SYSCONFDIR@|$(SYSCONFDIR)|g' dist/examples/cottar.json | cmp -s - "$(DESTDIR)$(ETC)/cottar.json"; then \
		rm -f "$(DESTDIR)$(ETC)/cottar.json"; \
	fi
	-[ "$(LICENSEDIR)" = "$(DOCDIR)" ] || rmdir "$(DESTDIR)$(LICENSEDIR)" 2>/dev/null
	-rmdir "$(DESTDIR)$(LIBEXECDIR)/cottar" 2>/dev/null
	-rmdir "$(DESTDIR)$(DOCDIR)/examples/tutorial" "$(DESTDIR)$(DOCDIR)/examples" "$(DESTDIR)$(DOCDIR)" \
		"$(DESTDIR)$(ETC)/handlers.d" "$(DESTDIR)$(ETC)" 2>/dev/null

# The scripts and units, as far as the tools are installed.
SCRIPTS = dist/openrc/cottar.initd dist/openrc/keep.sh dist/openwrt/cottar.init dist/examples/members \
	$(filter-out %.json,$(TUTORIAL:%=dist/examples/tutorial/%)) \
	dist/alpine/cottar.pre-install dist/arch/cottar.install dist/debian/cottar.postrm \
	dist/debian/tests/agents dist/debian/tests/upgrade $(wildcard dist/*.sh dist/check/*.sh dist/boot/*.sh) \
	tests/dist/demo.sh tests/live/skipped.sh
.PHONY: lint-dist
lint-dist:
	for script in $(SCRIPTS); do sh -n $$script || exit 1; done
	bash -n dist/completions/cottar.bash
	@if command -v shellcheck >/dev/null; then \
		echo "shellcheck"; \
		shellcheck -x -s sh -e SC2034 $(SCRIPTS) && shellcheck -s bash dist/completions/cottar.bash; \
	else \
		sh tests/live/skipped.sh note "shell scripts" "no \`shellcheck\`"; \
	fi

# Debian packages, in the directory debian of the target directory; see dist/README.md.
DEB_VERSION ?=
.PHONY: deb deb-source check-deb check-deb-source
deb: $(BUILT) ## a Debian package
	sh dist/deb.sh binary "$(TARGET_DIR)/debian" "$(BINARY)" $(DEB_VERSION)

deb-source: ## a Debian source package
	sh dist/deb.sh source "$(TARGET_DIR)/debian"

# Installs, starts, upgrades, removes and purges packages in a fresh tree of Debian's. Needs
# mmdebstrap, an archive, and lintian for the rest.
check-deb: deb
	sh dist/check/deb.sh "$(BINARY)" "$(TARGET_DIR)/debian"

# Builds the source package in a fresh tree of Debian's, asks lintian, and runs the package's tests.
check-deb-source: deb-source
	sh dist/check/deb-source.sh "$(TARGET_DIR)/debian"

# Boots trees of Debian's, one with systemd and one with OpenRC, and has the services there do all that
# services do. Needs root, mmdebstrap and an archive.
.PHONY: check-boot check-boot-systemd check-boot-openrc
check-boot: check-boot-systemd check-boot-openrc
check-boot-systemd: deb
	sh dist/boot/systemd.sh "$(BINARY)" "$(TARGET_DIR)/debian"
check-boot-openrc: $(BUILT)
	mkdir -p "$(TARGET_DIR)/debian"
	sh dist/boot/openrc.sh "$(BINARY)" "$(TARGET_DIR)/debian"
