# Makefile - an ordinary incremental build; ./build.sh is the front door and calls it.
#
#   make                     build/mod_mercure.so, build/brokerd, build/mercurectl
#   make install             put them where Apache finds them (PREFIX, DESTDIR)
#   make unit                build and run the tests of lib/ alone
#   make SANITIZE=1 B=build/asan ...   the same with AddressSanitizer and UndefinedBehaviorSanitizer
#   make fuzz                build/fuzz/test/fuzz/fuzz_NAME for every test/fuzz/fuzz_NAME.c, with clang's libFuzzer
#   make fuzz-replays        $(B)/test/fuzz/replay_NAME: the same without libFuzzer, to run the kept corpora
#
# Flags come from apxs and pkg-config. Warnings are errors.

B ?= build
PREFIX ?= /usr/local
CC ?= gcc
PKG := pkg-config

DEPS := jansson lmdb libcrypto libidn2 libpcre2-8
APR_CFLAGS := $(shell apr-1-config --cflags --cppflags --includes)
APR_LIBS := $(shell apr-1-config --link-ld --libs)
WARN := -Wall -Wextra -Wshadow=local -Werror
CFLAGS ?= -O2 -g
ALL_CFLAGS := -std=gnu11 -D_GNU_SOURCE -fvisibility=hidden -fstack-protector-strong -fPIC -pthread -MMD -MP \
	-Iinclude $(WARN) $(CFLAGS) $(APR_CFLAGS) $(shell $(PKG) --cflags $(DEPS) libzmq)
LIBS := $(APR_LIBS) $(shell $(PKG) --libs $(DEPS)) -pthread
ZMQ_LIBS := $(shell $(PKG) --libs libzmq)
NGHTTP2_LIBS := $(shell $(PKG) --libs libnghttp2)
CURL_LIBS := $(shell $(PKG) --libs libcurl)

ifdef SANITIZE
ALL_CFLAGS += -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -O1
LDFLAGS += -fsanitize=address,undefined
endif

# For `make fuzz`. clang's warnings are not those the code is kept free of, so they are off.
ifdef FUZZER
WARN := -w
ALL_CFLAGS += -w -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -O1
LDFLAGS += -fsanitize=fuzzer,address,undefined
endif

LIB_OBJS := $(patsubst %.c,$(B)/obj/%.o,$(wildcard lib/*.c))
CTL_OBJS := $(patsubst %.c,$(B)/obj/%.o,$(wildcard brokerd/mercurectl*.c))
BROKERD_OBJS := $(filter-out $(CTL_OBJS),$(patsubst %.c,$(B)/obj/%.o,$(wildcard brokerd/*.c)))
MODULE_OBJS := $(patsubst %.c,$(B)/obj/%.o,$(wildcard mod_mercure/*.c))
UNIT_TESTS := $(patsubst test/unit/%.c,$(B)/test/unit/%,$(wildcard test/unit/test_*.c))
# Parts of the module that know nothing of httpd: a session of HTTP/2.
H2_OBJS := $(patsubst %,$(B)/obj/mod_mercure/%.o,h2_head h2_exchange h2_bounds h2_session h2_stream outbox buffer)
FUZZ_TARGETS := $(patsubst test/fuzz/fuzz_%.c,%,$(wildcard test/fuzz/fuzz_*.c))

.PHONY: all unit unit-programs fuzz fuzz-programs fuzz-replays install clean
all: $(B)/brokerd $(B)/mercurectl $(B)/mod_mercure.so

$(B)/obj/lib/%.o: ALL_CFLAGS += -Wshadow -Wconversion
$(B)/obj/mod_mercure/%.o: ALL_CFLAGS += -DMERCURE_BROKERD='"$(PREFIX)/sbin/brokerd"' $(shell apxs -q CPPFLAGS 2>/dev/null) $(shell apxs -q EXTRA_CPPFLAGS 2>/dev/null) \
	-isystem $(shell apxs -q INCLUDEDIR)

$(B)/obj/brokerd/%.o: ALL_CFLAGS += $(shell $(PKG) --cflags libcurl)

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) $(ALL_CFLAGS) -c $< -o $@

$(B)/brokerd: $(BROKERD_OBJS) $(LIB_OBJS)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS) -o $@.new $^  $(LIBS) $(ZMQ_LIBS) $(CURL_LIBS) && mv $@.new $@

$(B)/mercurectl: $(CTL_OBJS) $(LIB_OBJS)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS) -o $@.new $^  $(LIBS) && mv $@.new $@

$(B)/mod_mercure.so: $(MODULE_OBJS) $(LIB_OBJS)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS) -shared -o $@.new $^  $(LIBS) $(ZMQ_LIBS) $(NGHTTP2_LIBS) -lssl && mv $@.new $@

$(B)/test/unit/%: $(B)/obj/test/unit/%.o $(LIB_OBJS)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS) -o $@.new $^  $(LIBS) -lcmocka && mv $@.new $@

$(B)/test/unit/test_h2_%: $(B)/obj/test/unit/test_h2_%.o $(H2_OBJS) $(LIB_OBJS)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS) -o $@.new $^  $(LIBS) $(ZMQ_LIBS) $(NGHTTP2_LIBS) -lcmocka && mv $@.new $@

$(B)/bench-load: $(wildcard bench/load*.c) $(wildcard bench/load*.h)
	@mkdir -p $(@D)
	$(CC) -O2 -g $(WARN) -D_GNU_SOURCE -o $@ $(filter %.c,$^) $(shell $(PKG) --cflags --libs openssl libnghttp2 libcurl) -lpthread

$(B)/bench-match: $(B)/obj/bench/match.o $(LIB_OBJS)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS) -o $@.new $^  $(LIBS) && mv $@.new $@

# The cache of tokens is the module's, but knows nothing of httpd.
$(B)/bench-token: $(B)/obj/bench/token.o $(B)/obj/mod_mercure/token_cache.o $(LIB_OBJS)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS) -o $@.new $^  $(LIBS) && mv $@.new $@

$(B)/test/fuzz/fuzz_%: $(B)/obj/test/fuzz/fuzz_%.o $(LIB_OBJS)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS) -o $@.new $^  $(LIBS) && mv $@.new $@

$(B)/test/fuzz/replay_%: $(B)/obj/test/fuzz/replay.o $(B)/obj/test/fuzz/fuzz_%.o $(LIB_OBJS)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS) -o $@.new $^  $(LIBS) && mv $@.new $@

$(B)/test/fuzz/fuzz_h2_%: $(B)/obj/test/fuzz/fuzz_h2_%.o $(H2_OBJS) $(LIB_OBJS)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS) -o $@.new $^  $(LIBS) $(ZMQ_LIBS) $(NGHTTP2_LIBS) && mv $@.new $@

$(B)/test/fuzz/replay_h2_%: $(B)/obj/test/fuzz/replay.o $(B)/obj/test/fuzz/fuzz_h2_%.o $(H2_OBJS) $(LIB_OBJS)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS) -o $@.new $^  $(LIBS) $(ZMQ_LIBS) $(NGHTTP2_LIBS) && mv $@.new $@

fuzz:
	@$(MAKE) FUZZER=1 CC=clang B=build/fuzz fuzz-programs

fuzz-programs: $(FUZZ_TARGETS:%=$(B)/test/fuzz/fuzz_%)

fuzz-replays: $(FUZZ_TARGETS:%=$(B)/test/fuzz/replay_%)

unit-programs: $(UNIT_TESTS)

unit: $(UNIT_TESTS)
	@for test in $^; do ./$$test || exit 1; done

LIBEXECDIR := $(shell apxs -q LIBEXECDIR 2>/dev/null)
MODS := /etc/apache2/mods-available

# The module goes where httpd's modules are; on Debian, `a2enmod mercure` then loads it.
install: all
	install -D -m 644 $(B)/mod_mercure.so $(DESTDIR)$(LIBEXECDIR)/mod_mercure.so
	install -D -m 755 $(B)/brokerd $(DESTDIR)$(PREFIX)/sbin/brokerd
	install -D -m 755 $(B)/mercurectl $(DESTDIR)$(PREFIX)/bin/mercurectl
	if [ -d $(MODS) ]; then install -d $(DESTDIR)$(MODS); \
	    echo "LoadModule mercure_module $(LIBEXECDIR)/mod_mercure.so" >$(DESTDIR)$(MODS)/mercure.load; fi

clean:
	rm -rf build

.SECONDARY:
-include $(shell find $(B) -name '*.d' 2>/dev/null)
