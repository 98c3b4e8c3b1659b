# Installing, and what is shipped: included by the Makefile.
#
#     make install [PREFIX=/usr/local] [LIBDIR=$(PREFIX)/lib] [DESTDIR=]      make uninstall, with the same variables
#     make dist      build/cairn-VERSION.tar.gz: what git tracks              make deb      build/deb/*.deb

PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
BINDIR ?= $(PREFIX)/bin
DATADIR ?= $(PREFIX)/share
DESTDIR ?=

VERSION := $(shell sed -n 's/^.define CAIRN_VERSION_STRING "\(.*\)"/\1/p' include/cairn.h)
MAJOR := $(word 1,$(subst ., ,$(VERSION)))
MINOR := $(word 2,$(subst ., ,$(VERSION)))
SONAME := 0

FILL := sed -e 's|@PREFIX@|$(PREFIX)|g' -e 's|@LIBDIR@|$(LIBDIR)|g' -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|g' -e 's|@VERSION@|$(VERSION)|g' \
	-e 's|@MAJOR@|$(MAJOR)|g' -e 's|@MINOR@|$(MINOR)|g' -e 's|@SONAME@|$(SONAME)|g'

# Everything that is installed, for uninstall.
INSTALLED := $(BINDIR)/cairn $(INCLUDEDIR)/cairn.h $(LIBDIR)/libcairn.a $(LIBDIR)/libcairn.so.$(VERSION) $(LIBDIR)/libcairn.so.$(SONAME) $(LIBDIR)/libcairn.so \
	$(LIBDIR)/pkgconfig/cairn.pc $(LIBDIR)/cmake/cairn/cairnConfig.cmake $(LIBDIR)/cmake/cairn/cairnConfigVersion.cmake \
	$(DATADIR)/man/man1/cairn.1 $(DATADIR)/man/man3/cairn.3 $(DATADIR)/bash-completion/completions/cairn $(DATADIR)/zsh/site-functions/_cairn

.PHONY: install uninstall dist deb
install: lib $(BUILD)/cairn
	@install -d $(addprefix $(DESTDIR),$(sort $(dir $(INSTALLED))))
	@install -m 755 $(BUILD)/cairn $(DESTDIR)$(BINDIR)/cairn
	@install -m 644 include/cairn.h $(DESTDIR)$(INCLUDEDIR)/cairn.h
	@install -m 644 $(BUILD)/libcairn.a $(DESTDIR)$(LIBDIR)/libcairn.a
	@install -m 644 $(BUILD)/libcairn.so $(DESTDIR)$(LIBDIR)/libcairn.so.$(VERSION)
	@ln -sf libcairn.so.$(VERSION) $(DESTDIR)$(LIBDIR)/libcairn.so.$(SONAME)
	@ln -sf libcairn.so.$(SONAME) $(DESTDIR)$(LIBDIR)/libcairn.so
	@$(FILL) packaging/cairn.pc.in >$(DESTDIR)$(LIBDIR)/pkgconfig/cairn.pc
	@$(FILL) packaging/cairnConfig.cmake.in >$(DESTDIR)$(LIBDIR)/cmake/cairn/cairnConfig.cmake
	@$(FILL) packaging/cairnConfigVersion.cmake.in >$(DESTDIR)$(LIBDIR)/cmake/cairn/cairnConfigVersion.cmake
	@install -m 644 man/cairn.1 $(DESTDIR)$(DATADIR)/man/man1/cairn.1
	@install -m 644 man/cairn.3 $(DESTDIR)$(DATADIR)/man/man3/cairn.3
	@install -m 644 completion/cairn.bash $(DESTDIR)$(DATADIR)/bash-completion/completions/cairn
	@install -m 644 completion/cairn.zsh $(DESTDIR)$(DATADIR)/zsh/site-functions/_cairn
	@if [ -z '$(DESTDIR)' ] && [ "$$(id -u)" = 0 ]; then ldconfig; fi
	@echo 'installed cairn $(VERSION) under $(DESTDIR)$(PREFIX)'

uninstall:
	@rm -f $(addprefix $(DESTDIR),$(INSTALLED))
	@rmdir $(DESTDIR)$(LIBDIR)/cmake/cairn 2>/dev/null || true
	@echo 'removed cairn from $(DESTDIR)$(PREFIX)'

dist:
	@mkdir -p $(BUILD)
	@git archive --format=tar --prefix=cairn-$(VERSION)/ HEAD | gzip -9n >$(BUILD)/cairn-$(VERSION).tar.gz
	@echo $(BUILD)/cairn-$(VERSION).tar.gz

deb: dist
	@scripts/setup.sh deb
	@rm -rf $(BUILD)/deb && mkdir -p $(BUILD)/deb
	@tar -C $(BUILD)/deb -xzf $(BUILD)/cairn-$(VERSION).tar.gz
	@cd $(BUILD)/deb/cairn-$(VERSION) && env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS dpkg-buildpackage -b -us -uc >../build.log 2>&1 || { tail -20 ../build.log; exit 1; }
	@ls $(BUILD)/deb/*.deb

.PHONY: test-deb
test-deb: deb
	@scripts/setup.sh test-deb
	@tests/deb.sh
