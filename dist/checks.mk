# Checks of what is delivered: `make size`, `make reproducible`, `make vendored`, `make anywhere`.
# dist/README.md tells what they show.

# What `make reproducible` and `make vendored` build: all, static, or both.
GOALS ?= all

.PHONY: size reproducible vendored anywhere

size: ## the static binary's bytes by crate
	CARGO_PROFILE_RELEASE_STRIP=false $(MAKE) static
	sh dist/size.sh $(STATIC)

reproducible: ## whether two builds in two folders are identical
	sh dist/reproducible.sh $(GOALS)

vendored: ## a build from vendored crates alone
	sh dist/vendored.sh $(GOALS)

anywhere: static ## whether the static binary runs in an empty root
	sh dist/anywhere.sh $(STATIC)
