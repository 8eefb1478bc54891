# SPDX-License-Identifier: GPL-2.0
#
# What a person or CI calls; `make help` lists it. The modules' own makefile is Kbuild.
#
# Everything runs in the toolbox (scripts/toolbox), except with KDIR=, which builds natively.

.DEFAULT_GOAL := modules
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
MAKEFLAGS += --no-print-directory

FLAVOUR ?= 7.3-amd64

targets := modules modules_install test-modules clippy doc rust-analyzer check test \
	   test-all run shell cost cost-blk cost-net bench bench-quick bench-gate bench-rings report \
	   results matrix harness kernels update

.PHONY: help clean distclean $(targets)

help:
	@sed -n 's/^## \{0,1\}//p' $(firstword $(MAKEFILE_LIST))

clean:
	@rm -rf build

distclean: clean
	@scripts/toolbox clean --all

## Two commands:
##   make run              boot a stock kernel in a guest, load a module built here, show what it does
##   make test             run the tests; TESTS=pattern runs a part, LIST=1 only lists them
##   make test-all         the same, and the long ones, which make test leaves out
##
## Build, for FLAVOUR=7.3-amd64 (default), another series and flavour (7.3-arm64), an ABI, or debug:
##   make modules          build the modules, in build/<kernel release>; W=1 warns more
##   make modules KDIR=    build them natively, against a build tree of this machine
##   make modules_install  install them below INSTALL_MOD_PATH
##   make test-modules     build the modules that only tests load, the KUnit suites among them
##   make kernels          make ready what tests boot: stock kernels, and the debug kernel
##   make update           look for newer kernels on the mirror
##   make clean            remove build; the cache stays
##   make distclean        remove the cache, too
##
## Work:
##   make shell            an interactive guest, with the modules at hand
##   make cost             count the instructions of the virtio layer, compared with C
##   make cost-blk         count those of a request to a disk, compared with the kernel's driver
##   make cost-net         count those of a frame, compared with the kernel's driver
##   make bench            have drivers, and devices, race: what programs reach; bench-quick is shorter;
##                         build/bench.html and build/bench.md show it; FRESH=1 keeps nothing
##   make bench-gate       fail if drivers cost more instructions than recorded; make results records it
##   make report           show all that bench and the costs have measured, in build/report.html
##   make matrix           make the tables of Documentation/systems.rst from what came out of the tests
##   make bench-rings      measure the backend's rings and switch alone, on a core of this machine
##   make check            every gate: format, lints, documentation, spelling, commits, ...
##   make clippy           lint the modules
##   make doc              document the support crate, in build/<kernel release>-doc/rust/doc
##   make rust-analyzer    write rust-project.json, for an editor

ifeq ($(RUST_VIRTIO_TOOLBOX)$(KDIR),)

# Outside: the same target in the toolbox. Variables of the command line are in MAKEFLAGS.
$(filter-out modules_install,$(targets)):
	+@scripts/toolbox run make $@

# This machine's /lib/modules is not in the toolbox.
modules_install:
	+@scripts/toolbox run make modules && rm -rf build/install && \
		scripts/toolbox run make $@ INSTALL_MOD_PATH=$(CURDIR)/build/install
	@set -e; for i in build/install/lib/modules/*; do \
		mkdir -p $(INSTALL_MOD_PATH)/lib/modules; \
		cp -r $$i $(INSTALL_MOD_PATH)/lib/modules/; \
		if [ -e $(INSTALL_MOD_PATH)/lib/modules/$${i##*/}/modules.builtin ]; then \
			PATH=$$PATH:/sbin:/usr/sbin depmod -b "$(INSTALL_MOD_PATH)/" $${i##*/}; \
		fi \
	done

else

export FLAVOUR KDIR

kbuild = +@scripts/kbuild
# The newer Rust of the toolbox is for userspace; the kernel's own is in the default path.
cargo = PATH=/opt/rust/usr/bin:$$PATH cargo
harness := build/cargo/release/harness
# What counts the instructions of a guest: see tests/bench.
bench := build/bench/count.so build/bench/window
bench-cflags := -O2 -Wall -Wextra -Werror

modules:
	$(kbuild) '' $@

# The key that the distribution signs with is its own: see Documentation/building.rst.
modules_install:
	$(kbuild) '' CONFIG_MODULE_SIG_ALL= $@

test-modules:
	$(kbuild) -tests BUILD=tests modules

clippy:
	$(kbuild) -clippy CLIPPY=1 W=1 modules

doc:
	$(kbuild) -doc KERNEL_EXT_DOC=y modules

harness: $(bench) build/guest/tsc
	+@cd tests && { $(cargo) build --release --locked 2>&1 | { grep -v '^ *Finished' || true; } }

build/bench/count.so: tests/bench/count.c tests/bench/plugin.h tests/bench/window.h
	@mkdir -p $(@D)
	@gcc $(bench-cflags) -shared -fPIC -fvisibility=hidden -o $@ $<

build/guest/tsc: tests/guest/tsc.c
	@mkdir -p $(@D)
	@gcc $(bench-cflags) -o $@ $<

build/bench/window: tests/bench/window.c tests/bench/window.h
	@mkdir -p $(@D)
	@gcc $(bench-cflags) -static -nostdlib -ffreestanding -fno-tree-loop-distribute-patterns \
		-fno-stack-protector -fcf-protection=none -o $@ $<

kernels:
	@for i in 7.3-amd64 7.3-cloud-amd64 7.2-amd64 debug; do scripts/kernel $$i || exit; done

update:
	@for i in amd64 arm64; do \
		scripts/rust-kernel-headers --cache $(RUST_VIRTIO_CACHE)/kernels --arch $$i --update --list | \
			tail -n 20 || exit; \
	done

test-all: tests := --all $(TESTS)
test: tests := $(TESTS)

ifdef LIST
test test-all: harness
	@$(harness) list $(tests)
else
# What the tests need of each kernel, one kernel after the other: each uses all CPUs.
test test-all: harness
	@for i in $$($(harness) trees $(tests)); do scripts/kernel $$i >/dev/null || exit; done
	@for i in $$({ $(harness) trees $(tests) && $(harness) kernels $(tests); } | sort -u); do \
		scripts/userland $$i >/dev/null || exit; \
	done
	+@for i in $$($(harness) kernels $(tests)); do \
		$(MAKE) modules test-modules FLAVOUR=$$i || exit; \
	done
	@$(harness) run $(tests)
endif

run: modules harness
	@$(harness) guest --kernel $(FLAVOUR) --module rust_virtio_minimal --device virtio-rng-pci \
		--run 'modprobe rust_virtio_minimal' \
		--run 'dmesg | grep "rust_virtio_minimal virtio"' \
		--run 'lsmod; readlink /sys/bus/virtio/devices/virtio0/driver'

cost: test-modules harness
	@$(harness) cost --json build/cost.json

cost-blk: modules harness
	@$(harness) cost --disk --json build/cost-blk.json

cost-net: modules test-modules harness
	@$(harness) cost --net --json build/cost-net.json

# What an interrupted one has measured is kept, unless FRESH=1.
bench: modules harness
	@$(harness) bench --json build/bench.json $(if $(FRESH),--fresh)
	@$(harness) report --html build/bench.html --markdown build/bench.md build/bench.json

report: harness
	@$(harness) report --html build/report.html --markdown build/report.md \
		$(wildcard build/bench.json build/cost.json build/cost-blk.json build/cost-net.json)

matrix: harness
	@$(harness) matrix --write Documentation/systems.rst

# On a quiet machine: what the gate compares with.
results: cost-blk cost-net
	@cp build/cost-blk.json build/cost-net.json Documentation/results/
	@{ echo '<!-- SPDX-License-Identifier: GPL-2.0 -->'; echo; \
		$(harness) report Documentation/results/*.json; } >Documentation/results/README.md

bench-quick: modules harness
	@$(harness) bench 'disk 4k randread qd32' 'nic tcp out' 'nic udp request'

bench-gate: modules test-modules harness
	@$(harness) run bench::gate

bench-rings:
	+@cd tests && $(cargo) bench --locked --package backend

shell: modules
	@scripts/guest-shell $(FLAVOUR)

rust-analyzer: modules
	+@scripts/rust-project.py

check:
	+@scripts/check

endif
