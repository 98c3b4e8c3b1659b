# The protocol of docs/DURABILITY.md as a model: `make model` explores all of it, tests/run.sh the quick part. See tests/model/README.md.
MODEL_SOURCES := $(wildcard tests/model/*.c)

$(BUILD)/model: $(MODEL_SOURCES) $(wildcard tests/model/*.h)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(MODEL_SOURCES)

.PHONY: model
model: $(BUILD)/model
	@$(BUILD)/model all
