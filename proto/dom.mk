# What works on the JSON tree: text formats, patches, defaults, validation, tables, OpenAPI.
libproto_a_SOURCES += \
	proto/json.c proto/json.h proto/json-priv.h \
	proto/json_parse.c
