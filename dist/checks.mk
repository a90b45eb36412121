# Checks of what is delivered: `make size`, `make reproducible`, `make vendored`, `make anywhere`.
# dist/README.md tells what they show.

# What `make reproducible` and `make vendored` build: all, static, or both.
GOALS ?= all

.PHONY: size reproducible vendored anywhere

size:
	CARGO_PROFILE_RELEASE_STRIP=false $(MAKE) static
	sh dist/size.sh $(STATIC)

reproducible:
	sh dist/reproducible.sh $(GOALS)

vendored:
	sh dist/vendored.sh $(GOALS)

anywhere: static
	sh dist/anywhere.sh $(STATIC)
