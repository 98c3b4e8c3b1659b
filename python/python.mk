# The Python package: included by the Makefile.
#
#     make python      the package in build/python, for PYTHONPATH; PYTHON=/usr/bin/python3.12 chooses another one, from 3.11 on
#
# setup.py makes the same two files, for `pip install .`.

PYTHON ?= $(if $(wildcard build/venv/bin/python),build/venv/bin/python,python3)
PYTHON_INCLUDE = $(shell $(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("include"))')
PYTHON_ABI := -DPy_LIMITED_API=0x030b0000
NATIVE_SOURCES := $(wildcard python/native/*.c)
NATIVE_OBJECTS := $(NATIVE_SOURCES:%.c=$(BUILD)/obj/%.o)

$(BUILD)/obj/python/native/%.o: python/native/%.c python/native/native.h include/cairn.h
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(PYTHON_ABI) -Iinclude -Ipython/native -isystem $(PYTHON_INCLUDE) -c -o $@ $<

# Of the library nothing is seen from outside: another one in the same process is not touched.
$(BUILD)/python/cairn/_native.abi3.so: $(NATIVE_OBJECTS) $(BUILD)/libcairn.a
	@mkdir -p $(@D)
	$(Q)$(CC) -shared -Wl,--exclude-libs,ALL $(LDFLAGS) -o $@ $^ -lm -pthread

$(BUILD)/python/cairn/bin/cairn: $(BUILD)/cairn
	@mkdir -p $(@D)
	@install -m 755 $< $@

.PHONY: python
python: $(BUILD)/python/cairn/_native.abi3.so $(BUILD)/python/cairn/bin/cairn
	@find $(BUILD)/python -xtype l -delete
	@cp -rsf $(CURDIR)/python/cairn/. $(BUILD)/python/cairn/
