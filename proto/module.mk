# proto/: the wire formats. *.proto are the source: protoc-c makes the C structs from them.
PROTO_FILES = \
	proto/admission.proto \
	proto/admissionregistration.proto \
	proto/apidiscovery.proto \
	proto/apiextensions.proto \
	proto/apiregistration.proto \
	proto/apiruntime.proto \
	proto/apps.proto \
	proto/authentication.proto \
	proto/authorization.proto \
	proto/autoscaling_v1.proto \
	proto/autoscaling_v2.proto \
	proto/batch.proto \
	proto/certificates.proto \
	proto/coordination.proto \
	proto/core.proto \
	proto/cri.proto \
	proto/discovery.proto \
	proto/dra.proto \
	proto/etcd_auth.proto \
	proto/etcd_election.proto \
	proto/etcd_health.proto \
	proto/etcd_kv.proto \
	proto/etcd_lock.proto \
	proto/etcd_rpc.proto \
	proto/events.proto \
	proto/flowcontrol.proto \
	proto/intstr.proto \
	proto/kms.proto \
	proto/meta.proto \
	proto/metrics.proto \
	proto/networking.proto \
	proto/node.proto \
	proto/policy.proto \
	proto/quantity.proto \
	proto/raft.proto \
	proto/rbac.proto \
	proto/scheduling.proto \
	proto/storage.proto
PROTO_PB_C = $(PROTO_FILES:.proto=.pb-c.c)
PROTO_PB_H = $(PROTO_FILES:.proto=.pb-c.h)

# One pattern with two targets: one run makes both files, also under -j.
proto/%.pb-c.c proto/%.pb-c.h: proto/%.proto
	$(AM_V_GEN)$(MKDIR_P) proto && $(PROTOC_C) -I$(top_srcdir) -I$(PROTOBUFC_INCLUDEDIR) \
		--c_out=. $(top_srcdir)/proto/$*.proto

# The tables of proto/schema.h, from the same files.
noinst_PROGRAMS += proto/schemagen
proto_schemagen_SOURCES = proto/schemagen.c
proto_schemagen_LDADD = libbase.a
proto/schema.tab.c: $(PROTO_FILES) proto/options.proto proto/schemagen$(EXEEXT)
	$(AM_V_GEN)$(MKDIR_P) proto && $(PROTOC) -I$(top_srcdir) -I$(PROTOBUFC_INCLUDEDIR) --include_imports --include_source_info \
		-o proto/schema.pb $(PROTO_FILES:%=$(top_srcdir)/%) && \
	ASAN_OPTIONS=detect_leaks=0 proto/schemagen < proto/schema.pb > $@.tmp && mv $@.tmp $@

noinst_LIBRARIES += libproto.a
libproto_a_SOURCES = \
	proto/tz.c proto/tz.h \
	proto/codec.c proto/codec.h proto/codec-priv.h \
	proto/codec_base64.c \
	proto/codec_custom.c \
	proto/codec_dom.c \
	proto/codec_encode.c \
	proto/go_time.c \
	proto/go_time.h \
	proto/codec_scan.c \
	proto/scan.h \
	proto/codec_text.c \
	proto/pb.c proto/pb.h \
	proto/resource.c proto/resource.def proto/resource.h \
	proto/schema.c proto/schema.h \
	proto/wire.h
nodist_libproto_a_SOURCES = \
	proto/schema.tab.c \
	proto/admission.pb-c.c proto/admission.pb-c.h \
	proto/admissionregistration.pb-c.c proto/admissionregistration.pb-c.h \
	proto/apidiscovery.pb-c.c proto/apidiscovery.pb-c.h \
	proto/apiextensions.pb-c.c proto/apiextensions.pb-c.h \
	proto/apiregistration.pb-c.c proto/apiregistration.pb-c.h \
	proto/apiruntime.pb-c.c proto/apiruntime.pb-c.h \
	proto/apps.pb-c.c proto/apps.pb-c.h \
	proto/authentication.pb-c.c proto/authentication.pb-c.h \
	proto/authorization.pb-c.c proto/authorization.pb-c.h \
	proto/autoscaling_v1.pb-c.c proto/autoscaling_v1.pb-c.h \
	proto/autoscaling_v2.pb-c.c proto/autoscaling_v2.pb-c.h \
	proto/batch.pb-c.c proto/batch.pb-c.h \
	proto/certificates.pb-c.c proto/certificates.pb-c.h \
	proto/coordination.pb-c.c proto/coordination.pb-c.h \
	proto/core.pb-c.c proto/core.pb-c.h \
	proto/cri.pb-c.c proto/cri.pb-c.h \
	proto/discovery.pb-c.c proto/discovery.pb-c.h \
	proto/dra.pb-c.c proto/dra.pb-c.h \
	proto/etcd_auth.pb-c.c proto/etcd_auth.pb-c.h \
	proto/etcd_election.pb-c.c proto/etcd_election.pb-c.h \
	proto/etcd_health.pb-c.c proto/etcd_health.pb-c.h \
	proto/etcd_kv.pb-c.c proto/etcd_kv.pb-c.h \
	proto/etcd_lock.pb-c.c proto/etcd_lock.pb-c.h \
	proto/etcd_rpc.pb-c.c proto/etcd_rpc.pb-c.h \
	proto/events.pb-c.c proto/events.pb-c.h \
	proto/flowcontrol.pb-c.c proto/flowcontrol.pb-c.h \
	proto/intstr.pb-c.c proto/intstr.pb-c.h \
	proto/kms.pb-c.c proto/kms.pb-c.h \
	proto/meta.pb-c.c proto/meta.pb-c.h \
	proto/metrics.pb-c.c proto/metrics.pb-c.h \
	proto/networking.pb-c.c proto/networking.pb-c.h \
	proto/node.pb-c.c proto/node.pb-c.h \
	proto/policy.pb-c.c proto/policy.pb-c.h \
	proto/quantity.pb-c.c proto/quantity.pb-c.h \
	proto/raft.pb-c.c proto/raft.pb-c.h \
	proto/rbac.pb-c.c proto/rbac.pb-c.h \
	proto/scheduling.pb-c.c proto/scheduling.pb-c.h \
	proto/storage.pb-c.c proto/storage.pb-c.h

BUILT_SOURCES += $(PROTO_PB_H) proto/openapi_sources.h
CLEANFILES += $(PROTO_PB_C) $(PROTO_PB_H) proto/schema.pb proto/schema.tab.c proto/openapi_sources.h

# What OpenAPI documents are made from, as a sum: clients keep a document for as long as it stays.
OPENAPI_MADE_OF = $(PROTO_FILES) proto/options.proto proto/resource.def proto/schemagen.c proto/openapi.c proto/openapi_paths.c \
	proto/openapi_proto.c proto/openapi_schema.c
proto/openapi_sources.h: $(OPENAPI_MADE_OF)
	$(AM_V_GEN)$(MKDIR_P) proto && cd $(top_srcdir) && cat $(OPENAPI_MADE_OF) | sha256sum | \
		sed 's/\(................\).*/#define OPENAPI_SOURCES "\1"/' > $(abs_builddir)/$@.tmp && mv $(abs_builddir)/$@.tmp $(abs_builddir)/$@
EXTRA_DIST += $(PROTO_FILES) proto/options.proto

# So that building one object alone, before `make all`, finds the headers too.
$(libproto_a_OBJECTS) $(libstore_a_OBJECTS) $(libraft_a_OBJECTS) $(liborchestrator_a_OBJECTS): | $(PROTO_PB_H)

include proto/dom.mk
include proto/cel/module.mk
proto/openapi.$(OBJEXT): proto/openapi_sources.h
