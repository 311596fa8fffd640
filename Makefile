# Works with GNU make and FreeBSD make, so only what both understand. Every target is one line of
# cargo or one script; the scripts say in their first lines what they do.

CARGO ?= cargo
PREFIX ?= /usr/local
DESTDIR ?=
INTEG ?=
VENDOR ?=

all: ## build runj, the shim and integ-inside (release), and NOTICE [the default]
	@scripts/build release
	@scripts/notice write

setup: ## install what the build and the tests need and this machine lacks
	@scripts/setup

demo: ## show a container's life from bundle to delete
	@scripts/demo

check: ## everything: setup, lint, test, cross-freebsd, integ-test, vm-selftest, vm-test
	@scripts/check

test: ## unit and command-line tests; no privilege needed
	@scripts/test

lint: ## formatting, clippy with warnings denied, arch, verify-notice
	@scripts/lint

arch: ## check who may use whom in runj/src
	@scripts/arch

integ-test: ## tests with real jails on this host (root); INTEG=name selects
	@scripts/integ-test $(INTEG)

soak: ## thousands of lives with random kills, and many clients at once (root); SOAK_CYCLES, SOAK_SECONDS
	@scripts/soak

vm-test: ## the same tests on a FreeBSD machine under QEMU; INTEG=name selects
	@scripts/vm-test $(INTEG)

vm-selftest: ## test the QEMU runner itself, on a Linux guest made here
	@scripts/vm-selftest

cross-freebsd: ## check, lint and link every FreeBSD binary, on Linux
	@scripts/cross-freebsd

fuzz: ## run each fuzz target for FUZZ_SECONDS (60) and keep what it found new
	@scripts/fuzz

bench: ## measure; prints ratios
	@scripts/bench

NOTICE: ## write NOTICE: the licences of everything that is linked in
	@scripts/notice write

spec-coverage: ## write docs/spec-coverage.md from fixtures/spec/coverage.json
	@scripts/spec-coverage write

verify-notice: ## fail if NOTICE does not name the crates of Cargo.lock
	@scripts/notice verify

completions: ## write the completions of shells, from the command line
	@RUNJ_WRITE=1 $(CARGO) test --quiet -p runj --lib documents

install: ## install programs, manuals, completions and documents below DESTDIR/PREFIX
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' scripts/install

dist: ## write the source tarball; VENDOR=1 puts the crates in
	@VENDOR='$(VENDOR)' scripts/dist

dist-test: ## build and test that tarball without git and without network (root, Linux)
	@scripts/dist-test

port: ## write the FreeBSD port of what make dist wrote
	@scripts/port

clean: ## remove everything that was built
	$(CARGO) clean

help: ## this list
	@awk -F ':.*## ' '/^[a-zA-Z-]+:.*## /{ printf "  %-14s %s\n", $$1, $$2 }' Makefile

.PHONY: all setup demo check test lint arch integ-test soak vm-test vm-selftest cross-freebsd fuzz bench \
	NOTICE spec-coverage verify-notice completions install dist dist-test port clean help
