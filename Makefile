# Cairn: `make demo` and `make test` are all a newcomer needs; both install what is missing first. `make help` lists the rest.

BUILD ?= build
ifeq ($(origin CC),default)
CC := gcc
endif
AR ?= ar
OPT ?= -O2 -g
SANITIZE ?=
Q := $(if $(V),,@)
# As many jobs as there are cores. A make that another make started has its jobs from there, and -jN in it would be warned of.
JOBS := $(if $(filter 0,$(MAKELEVEL)),-j$(shell nproc))
MAKEFLAGS += $(JOBS) --no-builtin-rules

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Werror
HARDEN := -fstack-protector-strong $(if $(SANITIZE),,-D_FORTIFY_SOURCE=2)
CFLAGS := -std=gnu11 $(OPT) $(WARN) $(HARDEN) -fPIC -fvisibility=hidden -ffp-contract=off -ffile-prefix-map=$(CURDIR)=. -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 $(SANITIZE)
LDFLAGS := -Wl,-z,relro,-z,now $(SANITIZE)

# ---------------------------------------------------------------------------------------------------- layers and borders
# What a layer may include. It is compiled with a folder of its own on the include path that holds just these, so that a
# forbidden include does not compile. Everybody may include the public cairn.h.
LAYERS := base os io format policy store snapshot manager api
ALLOW_base := base
ALLOW_os := base os
ALLOW_io := base os io
ALLOW_format := base format
ALLOW_policy := base policy
ALLOW_store := base os store
ALLOW_snapshot := base os io format store snapshot
ALLOW_manager := base os io format policy store snapshot manager
ALLOW_api := base os io format policy store snapshot manager api

SIMD_SOURCES := $(wildcard src/base/*_simd.c)
SOURCES := $(filter-out $(SIMD_SOURCES),$(foreach layer,$(LAYERS),$(wildcard src/$(layer)/*.c)))
OBJECTS := $(SOURCES:%.c=$(BUILD)/obj/%.o)

# Vector levels are chosen at run time: each file of SIMD_SOURCES is compiled once per level.
SIMD_LEVELS := 0
ifneq ($(filter x86_64-% x86_64,$(shell $(CC) -dumpmachine 2>/dev/null)),)
SIMD_LEVELS += 1 2
endif
SIMD_FLAGS_0 :=
SIMD_FLAGS_1 := -mavx2
SIMD_FLAGS_2 := -mavx512f -mavx512bw -mavx512dq -mavx512vl
OBJECTS += $(foreach level,$(SIMD_LEVELS),$(SIMD_SOURCES:%.c=$(BUILD)/obj/%.$(level).o))

CLI_SOURCES := $(wildcard cli/*.c)
DEMO_SOURCES := $(wildcard examples/demo.c examples/demo/*.c)
GPT_SOURCES := $(wildcard examples/gpt/*.c)
GPT_PROGRAMS := train_gpt evaluate finetune # each examples/X.c on its own
UNIT_TESTS := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/test_*.c))

PROGRAMS := $(if $(CLI_SOURCES),$(BUILD)/cairn) $(GPT_PROGRAMS:%=$(BUILD)/%) $(if $(wildcard examples/demo.c examples/demo/main.c),$(BUILD)/demo)

.SECONDARY:
.PHONY: all help setup demo test test-unit test-cli test-asan test-tsan fuzz lint coverage format clean lib
all: lib $(PROGRAMS)
lib: $(BUILD)/libcairn.a $(BUILD)/libcairn.so

help:
	@echo 'make demo      train, kill, resume, compare: the whole of it in 90 seconds'
	@echo 'make test      every test; the last line counts them'
	@echo 'make           library and programs, into $(BUILD)/      make python  the Python package, into $(BUILD)/python/'
	@echo 'make test-unit unit tests alone      make test-cli  the program end to end'
	@echo 'make test-asan unit tests under ASan and UBSan      make test-tsan  threaded ones under TSan'
	@echo 'make fuzz      every parser under libFuzzer, FUZZ_S=60 seconds each'
	@echo 'make sim       power cuts, crashes and races on a simulated disk: 20,000 random workloads, SIM="--seed 7 --trace"'
	@echo 'make mutants   the library with a step of its protocol left out, one at a time, on that disk: is it noticed?'
	@echo 'make differential   50,000 files through Cairn and the safetensors crate, DIFF_FILES=50000'
	@echo 'make arm64     library, unit tests, program and golden bytes on 64-bit ARM (qemu)      make valgrind  unit tests under memcheck'
	@echo 'make crash     killed, stopped, cut off, starved and rotten: every case of each, an hour'
	@echo 'make model     the commit protocol as a model: every order of steps, kills and power cuts; minutes'
	@echo 'make proof     model, sim, mutants, every fault, crash, threads, readers; hours, a table at the end'
	@echo 'make install   PREFIX=/usr/local DESTDIR=      make uninstall      make dist      make deb'
	@echo 'make bench     how fast, against plain code on the same hardware; BENCH="--size 64M"      make bench-growth  how cost grows'
	@echo 'make bench-peers   beside torch.save, safetensors, DCP, torch_checkpointing, Orbax, numpy; an hour; PEERS="--scale 0.02 --rounds 1"'
	@echo 'make bench-gpu     saves of a training run on a GPU; PYTHON=python3 is one that has torch for it, and transformers; GPU="--rounds 1"'
	@echo 'make lint      clang-format, clang-tidy, include-what-you-use, shellcheck, mandoc'
	@echo 'make coverage  branch coverage       make format    clang-format     make clean'
	@echo 'Variables: CC=clang BUILD=folder SANITIZE="-fsanitize=address,undefined"'

setup:
	@scripts/setup.sh test

# --------------------------------------------------------------------------------------------------------------- compiling
$(BUILD)/include/%/.made: Makefile
	@mkdir -p $(@D)
	@for layer in $(ALLOW_$*); do ln -sfn $(CURDIR)/src/$$layer $(@D)/$$layer; done
	@touch $@

define layer_rules
$$(BUILD)/obj/src/$(1)/%.o: src/$(1)/%.c $$(BUILD)/include/$(1)/.made
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(CFLAGS) -I$$(BUILD)/include/$(1) -Iinclude -MMD -MP -c -o $$@ $$<
endef
$(foreach layer,$(LAYERS),$(eval $(call layer_rules,$(layer))))

define simd_rules
$$(BUILD)/obj/src/base/%_simd.$(1).o: src/base/%_simd.c $$(BUILD)/include/base/.made
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(filter-out -fsanitize=thread,$$(CFLAGS)) -O3 $$(SIMD_FLAGS_$(1)) -DCN_SIMD_LEVEL=$(1) -I$$(BUILD)/include/base -Iinclude -MMD -MP -c -o $$@ $$<
endef
$(foreach level,$(SIMD_LEVELS),$(eval $(call simd_rules,$(level))))

$(BUILD)/libcairn.a: $(OBJECTS)
	@rm -f $@
	$(Q)$(AR) rcsD $@ $^

$(BUILD)/libcairn.so: $(OBJECTS) src/api/libcairn.map
	$(Q)$(CC) -shared -Wl,-soname,libcairn.so.$(SONAME) -Wl,--version-script=src/api/libcairn.map $(LDFLAGS) -o $@ $(OBJECTS) -lm -pthread

# The program and the examples see the public header alone.
$(BUILD)/cairn: $(CLI_SOURCES) $(wildcard cli/*.h) include/cairn.h $(BUILD)/libcairn.a
	$(Q)$(CC) $(CFLAGS) -Iinclude -Icli $(LDFLAGS) -o $@ $(CLI_SOURCES) $(BUILD)/libcairn.a -lm -pthread

$(GPT_PROGRAMS:%=$(BUILD)/%): $(BUILD)/%: examples/%.c $(GPT_SOURCES) $(wildcard examples/gpt/*.h) include/cairn.h $(BUILD)/libcairn.a
	$(Q)$(CC) $(CFLAGS) -O3 -Iinclude -Iexamples $(LDFLAGS) -o $@ $< $(GPT_SOURCES) $(BUILD)/libcairn.a -lm -pthread

$(BUILD)/demo: $(DEMO_SOURCES) $(wildcard examples/demo/*.h)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -Iexamples $(LDFLAGS) -o $@ $(DEMO_SOURCES) -lm

# The benchmark sees the public header, too; what it holds against the library it does with its own system calls.
$(BUILD)/bench: $(wildcard bench/*.c bench/*.h) include/cairn.h $(BUILD)/libcairn.a
	$(Q)$(CC) $(CFLAGS) -O3 -Iinclude -Ibench $(LDFLAGS) -o $@ $(wildcard bench/*.c) $(BUILD)/libcairn.a -lm -pthread

# FUSE file systems for the tests.
$(BUILD)/passthrough: tests/fuse/passthrough.c
$(BUILD)/crash/log_disk: tests/crash/log_disk.c tests/crash/disk_log.h
$(BUILD)/passthrough $(BUILD)/crash/log_disk:
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 $(OPT) $(WARN) -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -o $@ $< $$(pkg-config --cflags --libs fuse3)

# What the crash tests kill, stop and starve, and who looks afterwards. They see the public header alone.
CRASH_SHARED := $(addprefix tests/crash/,cases.c diary.c state.c story.c tracer.c)
CRASH_PROGRAMS := $(addprefix $(BUILD)/crash/,trainer checker reader kill_each_call sleep_each_call bit_rot cut_disk)
.PHONY: crash-programs crash
crash-programs: $(CRASH_PROGRAMS) $(BUILD)/crash/log_disk $(BUILD)/crash/faults.so $(BUILD)/cairn $(BUILD)/train_gpt
$(CRASH_PROGRAMS): $(BUILD)/crash/%: tests/crash/%.c $(CRASH_SHARED) $(wildcard tests/crash/*.h) $(BUILD)/libcairn.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out -Wmissing-prototypes,$(CFLAGS)) -Iinclude $(LDFLAGS) -o $@ $< $(CRASH_SHARED) $(BUILD)/libcairn.a -lm -pthread

$(BUILD)/crash/faults.so: tests/crash/faults.c
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 $(OPT) $(filter-out -Wmissing-prototypes,$(WARN)) -D_GNU_SOURCE -shared -fPIC -o $@ $< -ldl

# Unit tests look inside: they may include every layer. tests/unit/X.wrap names the functions that test X stands in for.
$(BUILD)/tests/%: tests/unit/%.c $(wildcard tests/unit/*.h tests/unit/*.wrap) $(BUILD)/libcairn.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out -Wmissing-prototypes,$(CFLAGS)) -Iinclude -Isrc -Itests/unit $(LDFLAGS) $$(sed 's/^/-Wl,--wrap=/' tests/unit/$*.wrap 2>/dev/null) -o $@ $< $(BUILD)/libcairn.a $$(pkg-config --cflags --libs cmocka) -lm -pthread

# The simulated machine (tests/sim): every object of the library but those of os.
$(BUILD)/sim: $(wildcard tests/sim/*.[ch]) $(filter-out $(BUILD)/obj/src/os/%,$(OBJECTS)) Makefile
	$(Q)$(CC) $(CFLAGS) -Iinclude -Isrc $(LDFLAGS) -o $@ $(wildcard tests/sim/*.c) $(filter-out $(BUILD)/obj/src/os/%,$(OBJECTS)) -lm

# The protocol of docs/DURABILITY.md as a model: `make model` explores all of it, tests/run.sh the quick part.
$(BUILD)/model: $(wildcard tests/model/*.c tests/model/*.h)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(wildcard tests/model/*.c)

# A fuzz target: tests/fuzz.sh builds it in a tree of its own.
$(BUILD)/fuzz_%: tests/fuzz/fuzz_%.c tests/fuzz/driver.c tests/fuzz/mutate.c tests/fuzz/fuzz.h $(BUILD)/libcairn.a
	$(Q)$(CC) $(CFLAGS) -fsanitize=fuzzer -Iinclude -Isrc -Itests/fuzz $(LDFLAGS) -o $@ $< tests/fuzz/driver.c tests/fuzz/mutate.c $(BUILD)/libcairn.a -lm -pthread

# ----------------------------------------------------------------------------------------------------------------- targets
.PHONY: unit-tests
unit-tests: $(UNIT_TESTS)

demo:
	@scripts/setup.sh demo
	@$(MAKE) --no-print-directory all
	@$(BUILD)/demo $(DEMO)

test:
	@scripts/setup.sh test
	@tests/run.sh

test-unit:
	@scripts/setup.sh test
	@$(MAKE) --no-print-directory unit-tests
	@tests/unit.sh $(BUILD)

test-cli:
	@scripts/setup.sh test
	@$(MAKE) --no-print-directory all
	@tests/cli/run.sh $(BUILD)

test-asan: SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=undefined
test-tsan: SANITIZE := -fsanitize=thread
test-asan test-tsan: test-%:
	@scripts/setup.sh test
	@$(MAKE) --no-print-directory BUILD=build/$* OPT='-O1 -g' SANITIZE='$(SANITIZE)' unit-tests
	@tests/unit.sh build/$* $(if $(filter tsan,$*),$$(grep -v '^#' tests/tsan.list))

.PHONY: model
model:
	@scripts/setup.sh demo
	@$(MAKE) --no-print-directory $(BUILD)/model
	@$(BUILD)/model all

# Power cuts, crashes and races by the ten thousand, on a simulated disk. SIM=--long is the default; SIM='--seed 7 --trace' replays one.
.PHONY: sim
sim:
	@scripts/setup.sh demo
	@$(MAKE) --no-print-directory $(BUILD)/sim
	@$(BUILD)/sim $(or $(SIM),--long)

# One step of the protocol left out at a time: does the simulated disk notice? MUTANTS='D7 --rounds 40': that one alone.
.PHONY: mutants
mutants:
	@scripts/setup.sh test
	@$(MAKE) --no-print-directory lib
	@tests/sim/mutants.py $(BUILD) $(MUTANTS)

fuzz:
	@scripts/setup.sh test
	@FUZZ_S=$(or $(FUZZ_S),60) FUZZ_RUNS=$(FUZZ_RUNS) tests/fuzz.sh run $(FUZZ_TARGETS)

lint:
	@scripts/setup.sh lint
	@tests/lint.sh

.PHONY: differential
differential:
	@scripts/setup.sh test
	@$(MAKE) --no-print-directory lib
	@DIFF_FILES=$(or $(DIFF_FILES),50000) tests/differential.sh $(BUILD)

crash:
	@scripts/setup.sh crash
	@tests/crash/run.sh $(BUILD) long $(CRASH)

# All of it: what was injected, how often, what was lost. Hours.
.PHONY: proof
proof:
	@scripts/setup.sh test
	@tests/proof.sh $(BUILD)

# On another machine, and under valgrind: minutes each, so not part of `make test`. TESTS="test_os test_run" runs these alone.
.PHONY: arm64 valgrind
arm64 valgrind:
	@scripts/setup.sh $@
	@tests/$@.sh $(TESTS)

# How fast, against plain code on the same hardware: BENCH="--size 64M --rounds 3", see build/bench --help.
.PHONY: bench bench-growth
bench:
	@scripts/setup.sh demo
	@$(MAKE) --no-print-directory all $(BUILD)/bench
	@$(BUILD)/bench --program $(BUILD)/cairn $(BENCH)

bench-growth:
	@$(MAKE) --no-print-directory bench BENCH='--only none --growth --size 8G $(BENCH)'

# Against what people use: PEERS="--states small --rounds 3", see bench/peers. They are installed into an environment of their own.
$(BUILD)/bench_plain.so: bench/peers/plain.c $(addprefix bench/,raw.c copy.c die.c machine.c scratch.c) $(wildcard bench/*.h)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -O3 -shared -Ibench -Iinclude -o $@ $(filter %.c,$^) -pthread

.PHONY: bench-peers
bench-peers:
	@scripts/setup.sh demo
	@scripts/venv.sh bench/peers/requirements.txt build/venv-peers
	@build/venv-peers/bin/python -m compileall -q -j 0 build/venv-peers/lib >/dev/null 2>&1 || true # else a peer's first save waits for its modules to be compiled
	@$(MAKE) --no-print-directory PYTHON=build/venv-peers/bin/python python $(BUILD)/bench_plain.so
	@CAIRN_BENCH_PLAIN=$(CURDIR)/$(BUILD)/bench_plain.so PYTHONPATH=$(BUILD)/python build/venv-peers/bin/python bench/peers $(PEERS)

.PHONY: bench-gpu
bench-gpu: python
	@PYTHONPATH=$(BUILD)/python $(or $(PYTHON),python3) bench/peers/gpu.py $(GPU)

coverage:
	@scripts/setup.sh test
	@tests/coverage.sh

format:
	clang-format -i $$(git ls-files '*.c' '*.h')

clean:
	rm -rf $(BUILD)

include packaging/install.mk
include python/python.mk

-include $(OBJECTS:.o=.d)
