# Checks of what is delivered: `make size`, `make reproducible`, `make vendored`, `make anywhere`.
# dist/README.md tells what they show.

# What `make reproducible` and `make vendored` build: all, static, or both.
GOALS ?= all

.PHONY: size reproducible vendored anywhere dist check-dist image check-image check-rpm check-makepkg

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

# An OCI image around a static binary: `make image STATIC=FILE` takes one that is there already.
IMAGE = $(TARGET_DIR)/image/cottar.oci.tar
IMAGE_NEEDS = $(if $(filter command%,$(origin STATIC)),,static)
image: $(IMAGE_NEEDS) ## an OCI image archive
	sh dist/image.sh "$(STATIC)" "$(IMAGE)"

check-image: image ## whether the image works, as process 1 in namespaces (root)
	sh dist/check/image.sh "$(STATIC)" "$(IMAGE)"

# Packages for other distributions, with their own tools.
check-rpm: ## whether the RPM package builds, installs, upgrades and erases (root)
	sh dist/check/rpm.sh "$(TARGET_DIR)/rpm"

check-makepkg: ## whether the package for Arch Linux builds, installs and removes (root)
	sh dist/check/makepkg.sh "$(TARGET_DIR)/arch"
