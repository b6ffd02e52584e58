# What works on the JSON tree: text formats, patches, defaults, validation, tables, OpenAPI.
libproto_a_SOURCES += \
	proto/json.c proto/json.h proto/json-priv.h \
	proto/json_go.c \
	proto/json_new.c \
	proto/json_parse.c \
	proto/json_print.c
libproto_a_SOURCES += \
	proto/duration.c proto/duration.h \
	proto/yaml.c proto/yaml.h proto/yaml-priv.h \
	proto/yaml_print.c \
	proto/yaml_resolve.c
libproto_a_SOURCES += \
	proto/quantity.c proto/quantity.h \
	proto/selector.c proto/selector.h \
	proto/selector_field.c
libproto_a_SOURCES += \
	proto/patch.c proto/patch.h proto/patch-priv.h \
	proto/patch_make.c \
	proto/patch_strategic.c
libproto_a_SOURCES += \
	proto/convert.c proto/convert.h \
	proto/custom.c proto/custom.h proto/custom-priv.h \
	proto/custom_types.c \
	proto/custom_view.c \
	proto/cron.c proto/cron.h \
	proto/defaults.c proto/defaults.h \
	proto/field_errs.c proto/field_errs.h
libproto_a_SOURCES += \
	proto/table.c proto/table.h proto/table-priv.h \
	proto/table_kinds.c \
	proto/table_rows.c
libproto_a_SOURCES += \
	proto/validate.c proto/validate.h proto/validate-priv.h \
	proto/validate_meta.c \
	proto/validate_scalar.c
libproto_a_SOURCES += \
	proto/openapi.c proto/openapi.h proto/openapi-priv.h \
	proto/openapi_paths.c \
	proto/openapi_proto.c \
	proto/openapi_schema.c
libproto_a_SOURCES += \
	proto/validate_admission.c \
	proto/validate_affinity.c \
	proto/validate_apps.c \
	proto/validate_batch.c \
	proto/validate_certificates.c \
	proto/validate_container.c \
	proto/validate_crd.c \
	proto/validate_devices.c \
	proto/validate_ephemeral.c \
	proto/validate_flow.c \
	proto/validate_network.c \
	proto/validate_pod.c \
	proto/pod_resources.c proto/pod_resources.h \
	proto/validate_resources.c \
	proto/validate_security.c \
	proto/validate_warn.c \
	proto/validate_policy.c \
	proto/validate_rbac.c \
	proto/validate_resize.c \
	proto/validate_scaling.c \
	proto/validate_service.c \
	proto/validate_event.c \
	proto/validate_small.c \
	proto/validate_storage.c \
	proto/validate_volume.c \
	proto/validate_workload.c
libproto_a_SOURCES += \
	proto/jsonpath.c proto/jsonpath.h proto/jsonpath-priv.h \
	proto/jsonpath_parse.c
libproto_a_SOURCES += \
	proto/fieldmanager.c proto/fieldmanager.h \
	proto/fieldset.c proto/fieldset.h \
	proto/typed.c proto/typed.h proto/typed-priv.h \
	proto/typed_check.c \
	proto/typed_merge.c \
	proto/structural.c proto/structural.h proto/structural-priv.h \
	proto/structural_rules.c proto/structural_rules.h \
	proto/admission_policy.c proto/admission_policy.h \
	proto/structural_pattern.c \
	proto/structural_shape.c \
	proto/structural_validate.c
