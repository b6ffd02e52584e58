# Fuzz targets. Each is tests/fuzz/fuzz_NAME.c with LLVMFuzzerTestOneInput, and a corpus in tests/fuzz/corpus/NAME/.
# Without --enable-fuzzers they are linked with standalone.c, and `make check` replays the corpora (tests/fuzz/replay).
# To add one, add below (or in your folder's part):
#	FUZZ_TARGETS += tests/fuzz/fuzz_NAME
#	tests_fuzz_fuzz_NAME_SOURCES = tests/fuzz/fuzz_NAME.c $(FUZZ_MAIN)
#	tests_fuzz_fuzz_NAME_LDFLAGS = $(FUZZ_LDFLAGS)
#	tests_fuzz_fuzz_NAME_LDADD = libFOLDER.a ...
if ENABLE_FUZZERS
FUZZ_MAIN =
FUZZ_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
else
FUZZ_MAIN = tests/fuzz/standalone.c
FUZZ_LDFLAGS = $(AM_LDFLAGS)
endif
FUZZ_TARGETS =
FUZZ_TARGETS += tests/fuzz/fuzz_http1
tests_fuzz_fuzz_http1_SOURCES = tests/fuzz/fuzz_http1.c $(FUZZ_MAIN)
tests_fuzz_fuzz_http1_LDFLAGS = $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_http1_LDADD = $(IO_LIBS)
FUZZ_TARGETS += tests/fuzz/fuzz_grpc
tests_fuzz_fuzz_grpc_SOURCES = tests/fuzz/fuzz_grpc.c $(FUZZ_MAIN)
tests_fuzz_fuzz_grpc_LDFLAGS = $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_grpc_LDADD = $(IO_LIBS)
FUZZ_TARGETS += tests/fuzz/fuzz_websocket
tests_fuzz_fuzz_websocket_SOURCES = tests/fuzz/fuzz_websocket.c $(FUZZ_MAIN)
tests_fuzz_fuzz_websocket_LDFLAGS = $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_websocket_LDADD = $(IO_LIBS)
FUZZ_TARGETS += tests/fuzz/fuzz_wire tests/fuzz/fuzz_object
tests_fuzz_fuzz_wire_SOURCES = tests/fuzz/fuzz_wire.c $(FUZZ_MAIN)
tests_fuzz_fuzz_wire_LDFLAGS = $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_wire_LDADD = libproto.a libbase.a $(PROTOBUFC_LIBS) $(YAML_LIBS)
$(tests_fuzz_fuzz_wire_OBJECTS): | $(PROTO_PB_H)
tests_fuzz_fuzz_object_SOURCES = tests/fuzz/fuzz_object.c $(FUZZ_MAIN)
tests_fuzz_fuzz_object_LDFLAGS = $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_object_LDADD = libproto.a libbase.a $(PROTOBUFC_LIBS) $(YAML_LIBS)
FUZZ_TARGETS += tests/fuzz/fuzz_api
tests_fuzz_fuzz_api_SOURCES = tests/fuzz/fuzz_api.c $(FUZZ_MAIN)
tests_fuzz_fuzz_api_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS)
tests_fuzz_fuzz_api_LDFLAGS = $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_api_LDADD = libapiserver.a libclient.a libraft.a libstore.a libproto.a $(IO_LIBS) $(RAFT_LIBS) \
	$(LMDB_LIBS) $(PROTOBUFC_LIBS) $(YAML_LIBS) $(ZLIB_LIBS) $(PCRE2_LIBS) -lm
FUZZ_TARGETS += tests/fuzz/fuzz_guard
tests_fuzz_fuzz_guard_SOURCES = tests/fuzz/fuzz_guard.c $(FUZZ_MAIN)
tests_fuzz_fuzz_guard_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS)
tests_fuzz_fuzz_guard_LDFLAGS = $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_guard_LDADD = $(tests_fuzz_fuzz_api_LDADD)
FUZZ_TARGETS += tests/fuzz/fuzz_aggregate
tests_fuzz_fuzz_aggregate_SOURCES = tests/fuzz/fuzz_aggregate.c $(FUZZ_MAIN)
tests_fuzz_fuzz_aggregate_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS)
tests_fuzz_fuzz_aggregate_LDFLAGS = $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_aggregate_LDADD = $(tests_fuzz_fuzz_api_LDADD)
FUZZ_TARGETS += tests/fuzz/fuzz_proxy_html
tests_fuzz_fuzz_proxy_html_SOURCES = tests/fuzz/fuzz_proxy_html.c $(FUZZ_MAIN)
tests_fuzz_fuzz_proxy_html_LDFLAGS = $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_proxy_html_LDADD = $(tests_fuzz_fuzz_api_LDADD)
FUZZ_TARGETS += tests/fuzz/fuzz_ws_bridge
tests_fuzz_fuzz_ws_bridge_SOURCES = tests/fuzz/fuzz_ws_bridge.c tests/lib/bridge_rig.h $(FUZZ_MAIN)
tests_fuzz_fuzz_ws_bridge_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS)
tests_fuzz_fuzz_ws_bridge_LDFLAGS = $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_ws_bridge_LDADD = $(tests_fuzz_fuzz_api_LDADD)
FUZZ_TARGETS += tests/fuzz/fuzz_kubelet
tests_fuzz_fuzz_kubelet_SOURCES = tests/fuzz/fuzz_kubelet.c $(FUZZ_MAIN)
tests_fuzz_fuzz_kubelet_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS)
tests_fuzz_fuzz_kubelet_LDFLAGS = $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_kubelet_LDADD = libkubelet.a libclient.a libproto.a $(IO_LIBS) $(PROTOBUFC_LIBS) $(YAML_LIBS)
$(tests_fuzz_fuzz_kubelet_OBJECTS): | $(PROTO_PB_H)
FUZZ_TARGETS += tests/fuzz/fuzz_hpa
tests_fuzz_fuzz_hpa_SOURCES = tests/fuzz/fuzz_hpa.c $(FUZZ_MAIN)
tests_fuzz_fuzz_hpa_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS)
tests_fuzz_fuzz_hpa_LDFLAGS = $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_hpa_LDADD = libcontrollers.a libinformer.a $(tests_fuzz_fuzz_api_LDADD)
$(tests_fuzz_fuzz_hpa_OBJECTS): | $(PROTO_PB_H)
check_PROGRAMS += $(FUZZ_TARGETS)
dist_check_SCRIPTS += tests/fuzz/replay
TESTS += tests/fuzz/replay
EXTRA_DIST += tests/fuzz/corpus

FUZZ_TARGETS += tests/fuzz/fuzz_dns
tests_fuzz_fuzz_dns_SOURCES = tests/fuzz/fuzz_dns.c $(FUZZ_MAIN)
tests_fuzz_fuzz_dns_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS)
tests_fuzz_fuzz_dns_LDFLAGS = $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_dns_LDADD = libdns.a libproto.a libnet.a libbase.a $(PROTOBUFC_LIBS) $(NL_LIBS)

STORE_FUZZ_LIBS = libstore.a libproto.a libio.a libbase.a $(LMDB_LIBS) $(PROTOBUFC_LIBS) $(UV_LIBS) $(OPENSSL_LIBS) \
	$(NGHTTP2_LIBS) -lpthread
FUZZ_TARGETS += tests/fuzz/fuzz_store_command tests/fuzz/fuzz_store_chunk
tests_fuzz_fuzz_store_command_SOURCES = tests/fuzz/fuzz_store_command.c $(FUZZ_MAIN)
tests_fuzz_fuzz_store_command_LDFLAGS = $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_store_command_LDADD = $(STORE_FUZZ_LIBS)
tests_fuzz_fuzz_store_chunk_SOURCES = tests/fuzz/fuzz_store_chunk.c $(FUZZ_MAIN)
tests_fuzz_fuzz_store_chunk_LDFLAGS = $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_store_chunk_LDADD = $(STORE_FUZZ_LIBS)

FUZZ_TARGETS += tests/fuzz/fuzz_snapfile
tests_fuzz_fuzz_snapfile_SOURCES = tests/fuzz/fuzz_snapfile.c $(FUZZ_MAIN)
tests_fuzz_fuzz_snapfile_LDFLAGS = $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_snapfile_LDADD = $(STORE_FUZZ_LIBS)

FUZZ_TARGETS += tests/fuzz/fuzz_pages
tests_fuzz_fuzz_pages_SOURCES = tests/fuzz/fuzz_pages.c $(FUZZ_MAIN)
tests_fuzz_fuzz_pages_LDFLAGS = $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_pages_LDADD = $(STORE_FUZZ_LIBS)
FUZZ_TARGETS += tests/fuzz/fuzz_tz
tests_fuzz_fuzz_tz_SOURCES = tests/fuzz/fuzz_tz.c $(FUZZ_MAIN)
tests_fuzz_fuzz_tz_LDFLAGS = $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_tz_LDADD = libproto.a libbase.a $(PROTOBUFC_LIBS) $(YAML_LIBS)

FUZZ_TARGETS += tests/fuzz/fuzz_peer
tests_fuzz_fuzz_peer_SOURCES = tests/fuzz/fuzz_peer.c $(FUZZ_MAIN)
tests_fuzz_fuzz_peer_CFLAGS = $(KT_CFLAGS) $(UV_CFLAGS) $(RAFT_CFLAGS)
tests_fuzz_fuzz_peer_LDFLAGS = $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_peer_LDADD = libraft.a libio.a libbase.a $(RAFT_LIBS) $(UV_LIBS) $(OPENSSL_LIBS) $(NGHTTP2_LIBS)
FUZZ_TARGETS += tests/fuzz/fuzz_stable
tests_fuzz_fuzz_stable_SOURCES = tests/fuzz/fuzz_stable.c $(FUZZ_MAIN)
tests_fuzz_fuzz_stable_CFLAGS = $(KT_CFLAGS) $(UV_CFLAGS) $(RAFT_CFLAGS)
tests_fuzz_fuzz_stable_LDFLAGS = $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_stable_LDADD = libraft.a libstore.a libproto.a libio.a libbase.a $(RAFT_LIBS) $(LMDB_LIBS) $(PROTOBUFC_LIBS) $(UV_LIBS) \
	$(OPENSSL_LIBS) $(NGHTTP2_LIBS) -lpthread
include tests/fuzz/dom.mk
FUZZ_TARGETS += tests/fuzz/fuzz_wal
tests_fuzz_fuzz_wal_SOURCES = tests/fuzz/fuzz_wal.c tests/sim/simdisk.c $(FUZZ_MAIN)
tests_fuzz_fuzz_wal_LDFLAGS = $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_wal_LDADD = libraft.a libbase.a

ETCD_FUZZ_LIBS = libetcd.a libraft.a libstore.a libproto.a $(IO_LIBS) $(RAFT_LIBS) $(LMDB_LIBS) $(PROTOBUFC_LIBS) $(YAML_LIBS) \
	$(PCRE2_LIBS) -lcrypt
FUZZ_TARGETS += tests/fuzz/fuzz_etcd_json tests/fuzz/fuzz_etcd_call
tests_fuzz_fuzz_etcd_json_SOURCES = tests/fuzz/fuzz_etcd_json.c $(FUZZ_MAIN)
tests_fuzz_fuzz_etcd_json_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS)
tests_fuzz_fuzz_etcd_json_LDFLAGS = $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_etcd_json_LDADD = $(ETCD_FUZZ_LIBS)
tests_fuzz_fuzz_etcd_call_SOURCES = tests/fuzz/fuzz_etcd_call.c $(FUZZ_MAIN)
tests_fuzz_fuzz_etcd_call_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS)
tests_fuzz_fuzz_etcd_call_LDFLAGS = $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_etcd_call_LDADD = $(ETCD_FUZZ_LIBS)
$(tests_fuzz_fuzz_etcd_json_OBJECTS) $(tests_fuzz_fuzz_etcd_call_OBJECTS): | $(PROTO_PB_H)

FUZZ_TARGETS += tests/fuzz/fuzz_bolt tests/fuzz/fuzz_etcd_config
tests_fuzz_fuzz_bolt_SOURCES = tests/fuzz/fuzz_bolt.c $(FUZZ_MAIN)
tests_fuzz_fuzz_bolt_LDFLAGS = $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_bolt_LDADD = $(STORE_FUZZ_LIBS)
tests_fuzz_fuzz_etcd_config_SOURCES = tests/fuzz/fuzz_etcd_config.c $(FUZZ_MAIN)
tests_fuzz_fuzz_etcd_config_LDFLAGS = $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_etcd_config_LDADD = libverbs.a libproto.a libbase.a $(PROTOBUFC_LIBS) $(YAML_LIBS) -lm
