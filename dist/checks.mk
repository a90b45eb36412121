# Checks of what is delivered: `make size`, `make reproducible`, `make vendored`, `make anywhere`.
# dist/README.md tells what they show.

# What `make reproducible` and `make vendored` build: all, static, or both.
GOALS ?= all

.PHONY: size reproducible vendored anywhere dist check-dist

size: ## the static binary's bytes by crate
	CARGO_PROFILE_RELEASE_STRIP=false $(MAKE) static
	sh dist/size.sh $(STATIC)

reproducible: ## whether two builds in two folders are identical
	sh dist/reproducible.sh $(GOALS)

vendored: ## a build from vendored crates alone
	sh dist/vendored.sh $(GOALS)

anywhere: static ## whether the static binary runs in an empty root
	sh dist/anywhere.sh $(STATIC)

# The files of a release, in the directory dist of the target directory; see dist/README.md.
dist: ## the files of a release
	sh dist/dist.sh "$(TARGET_DIR)/dist"

check-dist: ## whether a release is reproducible and its archives build
	sh dist/check/dist.sh "$(TARGET_DIR)/dist"
