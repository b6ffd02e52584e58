# CEL: a part of proto/ with a folder of its own.
libproto_a_SOURCES += \
	proto/cel/cel.h proto/cel/cel-priv.h \
	proto/cel/check.c \
	proto/cel/constants.c \
	proto/cel/container.c \
	proto/cel/convert.c \
	proto/cel/copy.c \
	proto/cel/cost.c proto/cel/cost-priv.h \
	proto/cel/cost_functions.c proto/cel/costs.def \
	proto/cel/cost_run.c \
	proto/cel/eval.c \
	proto/cel/fn_authz.c \
	proto/cel/fn_convert.c \
	proto/cel/fn_extras.c \
	proto/cel/fn_lists.c \
	proto/cel/fn_lists_ext.c \
	proto/cel/fn_named_format.c \
	proto/cel/fn_net.c \
	proto/cel/fn_operators.c \
	proto/cel/fn_optional.c \
	proto/cel/fn_quantity.c \
	proto/cel/fn_regex.c \
	proto/cel/fn_semver.c \
	proto/cel/fn_standard.c \
	proto/cel/fn_string_format.c \
	proto/cel/fn_strings.c \
	proto/cel/fn_url.c \
	proto/cel/lex.c \
	proto/cel/lists.c \
	proto/cel/macros.c \
	proto/cel/object.c \
	proto/cel/opaque.c proto/cel/opaque-priv.h \
	proto/cel/parse.c \
	proto/cel/program.c \
	proto/cel/regex.c \
	proto/cel/report.c \
	proto/cel/schema.c \
	proto/cel/signature.c \
	proto/cel/time.c \
	proto/cel/types.c \
	proto/cel/value.c \
	proto/cel/zone.c
