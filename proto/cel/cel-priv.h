/*
 * Shared between the parts of CEL.
 *
 * Text becomes tokens (lex.c), a tree (parse.c; macros.c replaces calls of macros by folds, as upstream does, so that costs agree),
 * gets types (check.c, on types.c), loses what is constant (fold.c), is estimated (cost.c) and run (eval.c). Functions are rows of
 * tables, one table a library (fn_*.c): their types are written in a small language that signature.c reads.
 */
#ifndef PROTO_CEL_CEL_PRIV_H
#define PROTO_CEL_CEL_PRIV_H

#include "base/buf.h"
#include "base/util.h"
#include "proto/cel/cel.h"

/* ---- errors in the text (report.c) ---- */

struct cel__issue {
	uint32_t pos; /* bytes before it */
	const char *text;
};

struct cel__report {
	struct arena *a;
	struct str text;
	struct cel__issue *issues;
	size_t n, cap;
};

/* Never fails; returns NULL so that callers can return it. */
void *cel__complain(struct cel__report *, uint32_t pos, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
struct str cel__report_text(struct cel__report *);

/* ---- tokens (lex.c) ---- */

enum cel__token_type {
	TOK_EOF,
	TOK_IDENT,
	TOK_INT,
	TOK_UINT,
	TOK_FLOAT,
	TOK_STRING,
	TOK_BYTES,
	TOK_OP, /* punctuation, and the word `in` */
	TOK_TRUE,
	TOK_FALSE,
	TOK_NULL,
	TOK_BAD,
};

/* Two characters at most: 'a' | 'b' << 8. */
#define CEL__OP(a, b) ((unsigned)(a) | (unsigned)(b) << 8)

struct cel__token {
	enum cel__token_type type;
	uint32_t pos;
	unsigned op;
	struct str text; /* as written */
};

struct cel__lexer {
	struct cel__report *report;
	struct str text;
	uint32_t at;
};

void cel__lex(struct cel__lexer *, struct cel__token *ret);
/* The bytes that a string or bytes token stands for; false with a complaint. */
bool cel__unquote(struct cel__report *, const struct cel__token *, struct str *ret);

/* ---- the tree ---- */

enum cel__node {
	NODE_LITERAL,
	NODE_IDENT,
	NODE_SELECT,
	NODE_CALL,
	NODE_LIST,
	NODE_MAP,
	NODE_STRUCT,
	NODE_FOLD,
};

struct cel__overload;
struct cel__expr;

/* Calls that are not like others: they look at their arguments one by one, or select. */
enum cel__op {
	OP_CALL,
	OP_AND,
	OP_OR,
	OP_COND,
	OP_INDEX,
	OP_OPT_INDEX,
	OP_OPT_SELECT,
	OP_NOT_FALSE,
};

struct cel__fold {
	struct str var, var2, accu; /* var2 empty: one variable */
	struct cel__expr *range, *init, *cond, *step, *result;
	uint32_t slot, slot2, accu_slot;
	bool bind; /* no loop: accu is `init`, made when it is asked for */
};

struct cel__expr {
	enum cel__node node;
	enum cel__op op; /* of a call */
	uint32_t pos;
	uint32_t depth;
	uint8_t rule;   /* what a call costs (cost_run.c) */
	uint8_t seen;   /* the last pass that was here: the tree may hold a node twice */
	bool test_only; /* a select within has() */
	bool member;    /* a call in the form target.f(): args[0] is the target */
	bool free;      /* a constant: costs nothing when it runs */
	bool set;       /* `x in list` of constants, which upstream makes a set */
	bool local;     /* an identifier of a fold: slot */
	struct str name; /* of an identifier, field, function, struct type */
	struct cel__expr **args; /* elements; keys and values in turns; operand of a select */
	uint32_t n_args;
	bool *optional;          /* of elements or entries that are written ?x; NULL: none is */
	struct str *fields;      /* of a struct */
	struct cel__fold *fold;
	uint32_t slot;           /* of a local identifier, or the index of a variable */
	struct cel_value value;  /* of a literal or constant */
	const struct cel_type *type;
	const struct cel__overload **overloads; /* that may be called, in order */
	uint32_t n_overloads;
	uint32_t number; /* of the node: what an estimate keeps for it is in a table */
};

#define CEL__ACCU "@result"

struct cel__parser {
	struct arena *a;
	struct cel__report *report;
	struct cel__lexer lexer;
	struct cel__token token, next;
	unsigned libs;
	unsigned depth;
	uint32_t n_nodes;
	bool failed;
};

struct cel__expr *cel__parse(struct arena *, struct str text, unsigned libs, struct cel__report *, uint32_t *ret_n_nodes);
struct cel__expr *cel__node_new(struct cel__parser *, enum cel__node, uint32_t pos);
struct cel__expr *cel__node_ident(struct cel__parser *, uint32_t pos, struct str name);
struct cel__expr *cel__node_value(struct cel__parser *, uint32_t pos, struct cel_value);
/* The arguments are taken over. */
struct cel__expr *cel__node_call(struct cel__parser *, uint32_t pos, const char *function, bool member, unsigned n, ...);
struct cel__expr *cel__node_args(struct cel__parser *, struct cel__expr *, struct cel__expr **args, size_t n);
/* Words that are no identifiers. */
bool cel__reserved(struct str);
/* "a.b.c" of identifiers and selections; empty: it is something else, or too long to be a name. */
struct str cel__qualified(struct arena *, const struct cel__expr *);
/* What a call stands for: itself, a macro's expansion, or NULL after a complaint. */
struct cel__expr *cel__expand(struct cel__parser *, struct cel__expr *call);

/* ---- types (types.c) ---- */

/* What a parameter stood for before; for taking a failed attempt back. */
struct cel__binding {
	uint32_t id;
	const struct cel_type *before;
};

/* What type parameters stand for, by their number (a parameter's max_elements). */
struct cel__mapping {
	struct arena *a;
	const struct cel_type **to;
	size_t cap;
	struct cel__binding *log;
	size_t n_log, cap_log;
	uint32_t fresh;
};

bool cel__same_type(const struct cel_type *, const struct cel_type *);
/* Whether all of `have` may stand for `want`; parameters are bound when so, and not otherwise. */
bool cel__assignable(struct cel__mapping *, const struct cel_type *const *have, const struct cel_type *const *want, size_t n);
const struct cel_type *cel__substitute(struct cel__mapping *, const struct cel_type *, bool to_dyn);
const struct cel_type *cel__type_param(struct cel__mapping *);
const struct cel_type *cel__type_of(struct arena *, const struct cel_type *);
/* The more general of two that go together, else NULL. */
const struct cel_type *cel__join(struct cel__mapping *, const struct cel_type *, const struct cel_type *);
/* Whether it has so many parts that walking it would take long: a map of maps of maps ... by the same name twice each. */
bool cel__type_huge(const struct cel__mapping *, const struct cel_type *);
const struct cel_field *cel__field(const struct cel_type *, struct str name);
bool cel__scalar(const struct cel_type *);

/* ---- functions (functions.c, fn_*.c) ---- */

struct cel__eval;
typedef struct cel_value (*cel__fn)(struct cel__eval *, const struct cel_value *args, unsigned n);

struct cel__overload {
	const char *function, *id;
	/*
	 * Arguments, ':' and the result, a letter each: b i u d s y(bytes) n(null) t(timestamp) p(duration) * (dyn), A B C (parameters),
	 * L M O T before their own (list, map, optional, type), and opaque types: Q I C... (see cel__opaque_types).
	 */
	const char *signature;
	bool member;
	cel__fn fn;
};

struct cel__library {
	unsigned libs; /* 0: always there */
	const struct cel__overload *overloads;
	size_t n;
};

extern const struct cel__library *const cel__libraries[];
extern const size_t cel__n_libraries;
/* The number of arguments; types are in `types` (room for CEL__MAX_ARGS + 1), the last is the result. */
#define CEL__MAX_ARGS 8u
unsigned cel__signature(struct cel__mapping *, const struct cel__overload *, const struct cel_type **types);
/* Whether values may be given to it, as upstream looks at it when it runs: by kind. */
bool cel__signature_matches(const struct cel__overload *, const struct cel_value *args, unsigned n);
/* All overloads of a function in the libraries that are on; *ret_n 0: there is no such function. In the arena. */
const struct cel__overload **cel__overloads(struct arena *, unsigned libs, struct str function, size_t *ret_n);

/* ---- environments and programs ---- */

struct cel__var {
	const char *name;
	const struct cel_type *type;
};

struct cel_env {
	struct arena *a;
	unsigned libs;
	struct cel__var *vars;
	size_t n, cap;
};

struct cel__regex;

/* A pattern that stands in the text; found by where its bytes are. */
struct cel__known_pattern {
	struct str text;
	const struct cel__regex *regex;
};

struct cel_program {
	struct str text;
	struct cel__known_pattern *patterns;
	size_t n_patterns, cap_patterns;
	struct cel__expr *root;
	const struct cel_type *type;
	struct cel__var *vars; /* that it mentions */
	size_t n_vars;
	uint32_t n_slots, n_nodes;
	struct cel_cost cost;
};

/* Types all, and finds functions and variables. False with complaints. */
bool cel__check(struct arena *, const struct cel_env *, struct cel_program *, struct cel__report *);
/* What is known before it runs: constants are made, those that cannot be are complained about. */
bool cel__constants(struct arena *, struct cel_program *, struct cel__report *);
struct cel_cost cel__estimate(const struct cel_program *);
/* The type that a name stands for ("int", "list", "kubernetes.Quantity"); NULL: none. */
const struct cel_type *cel__type_named(unsigned libs, struct str name);
/* Object, Object.spec, JSONPatch...: what a struct expression makes. NULL: no such type. */
const struct cel_type *cel__struct_named(struct arena *, unsigned libs, struct str name);

/* What a field of such an object may hold: an object there must be named after its place. The value, or an error. */
struct cel_value cel__struct_field(struct cel__eval *, const struct cel_type *, struct str field, struct cel_value);
/* The name that type names have at run time: google.protobuf.Timestamp. */
const char *cel__type_name(const struct cel_type *);

/* ---- values (value.c, convert.c) ---- */

/* A list shows JSON, or holds values; appending to the newest of those that share a store is cheap. */
struct cel__store {
	struct arena *owner; /* grows in place only for who uses the same arena */
	struct cel_value *items;
	size_t n, cap;
};

struct cel_list {
	size_t n;
	const struct json *json; /* NULL: items */
	struct cel__store *store;
	const struct cel_type *type; /* of the list, or NULL */
};

struct cel__entry {
	struct cel_value key, value;
};

struct cel__table {
	struct arena *owner;
	struct cel__entry *entries;
	uint32_t *index; /* slots: entry + 1 */
	size_t n, cap, index_cap;
};

struct cel_map {
	size_t n;
	const struct json *json; /* NULL: table, or lazy */
	struct cel__table *table;
	const struct cel_type *type; /* an object's, or a map's; NULL */
	struct cel_lazy *lazy;
	struct arena *lazy_arena;
	struct cel_value *made; /* of lazy: by field; kind DYN: not yet */
};

enum cel__opaque_kind {
	OPAQUE_QUANTITY,
	OPAQUE_IP,
	OPAQUE_CIDR,
	OPAQUE_URL,
	OPAQUE_FORMAT,
	OPAQUE_SEMVER,
	OPAQUE_AUTHORIZER,
	OPAQUE_PATH_CHECK,
	OPAQUE_GROUP_CHECK,
	OPAQUE_RESOURCE_CHECK,
	OPAQUE_DECISION,
	OPAQUE_N,
};

struct cel_opaque {
	enum cel__opaque_kind kind;
};
extern const struct cel_type cel__opaque_types[OPAQUE_N];

struct cel_value cel__text_error(struct arena *, const char *text);
#define CEL__NO_OVERLOAD(a) cel_error((a), "no such overload")

static inline bool cel__is_error(struct cel_value v)
{
	return v.kind == CEL_ERROR;
}
static inline struct cel_value cel__int(int64_t i)
{
	return (struct cel_value){.kind = CEL_INT, .i = i};
}
static inline struct cel_value cel__uint(uint64_t u)
{
	return (struct cel_value){.kind = CEL_UINT, .u = u};
}
static inline struct cel_value cel__double(double d)
{
	return (struct cel_value){.kind = CEL_DOUBLE, .d = d};
}
static inline struct cel_value cel__bytes(struct str s)
{
	return (struct cel_value){.kind = CEL_BYTES, .s = s};
}
static inline struct cel_value cel__duration(int64_t ns)
{
	return (struct cel_value){.kind = CEL_DURATION, .i = ns};
}
static inline struct cel_value cel__null(void)
{
	return (struct cel_value){.kind = CEL_NULL};
}
static inline struct cel_value cel__type_value(const struct cel_type *t)
{
	return (struct cel_value){.kind = CEL_TYPE, .type = t};
}
static inline struct cel_value cel__opaque(const struct cel_opaque *o)
{
	return (struct cel_value){.kind = CEL_OPAQUE, .opaque = o};
}

/* Whether two are equal: never an error. The steps are counted: small values may stand for huge trees. */
bool cel__equal(struct cel__eval *, struct cel_value, struct cel_value);
/* False, and the run is stopped: what it looks at has more parts than it may. */
bool cel__step(struct cel__eval *);
bool cel__steps(struct cel__eval *, uint64_t n);
/* -1, 0, 1; 2: not comparable with each other; 3: one is NaN. */
int cel__compare(struct cel_value, struct cel_value);
struct cel_value cel__list_at(struct arena *, const struct cel_list *, size_t i);
struct cel_value cel__list_new(struct arena *, const struct cel_value *items, size_t n);
struct cel_value cel__list_append(struct arena *, const struct cel_list *, struct cel_value);
struct cel_value cel__list_concat(struct arena *, const struct cel_list *, const struct cel_list *);
struct cel_value cel__map_new(struct arena *);
/* The same map with one entry more; the key must be new (see cel__map_find). */
struct cel_value cel__map_add(struct arena *, const struct cel_map *, struct cel_value key, struct cel_value value);
bool cel__map_find(struct arena *, const struct cel_map *, struct cel_value key, struct cel_value *ret);
/* Entry i, 0 to n - 1; the value is not made when ret_value is NULL. */
void cel__map_entry(struct arena *, const struct cel_map *, size_t i, struct cel_value *ret_key, struct cel_value *ret_value);
/* size(): characters, bytes, elements, entries; false: it has none. */
bool cel__size(struct cel_value, uint64_t *ret);
uint64_t cel__characters(struct str);
/* The type that type() answers. */
const struct cel_type *cel__value_type(struct arena *, struct cel_value);
bool cel__map_key(enum cel_kind);
bool cel__opaque_equal(const struct cel_opaque *, const struct cel_opaque *);
bool cel__opaque_size(const struct cel_opaque *, uint64_t *ret);
struct str cel__opaque_text(struct arena *, const struct cel_opaque *);

/* Lists that a schema calls sets or maps are compared without regard to order (lists.c). */
bool cel__special_list(const struct cel_list *);
bool cel__equal_special_lists(struct cel__eval *, const struct cel_list *, const struct cel_list *);
struct cel_value cel__list_sum(struct cel__eval *, const struct cel_list *, const struct cel_list *);

/* Regular expressions (regex.c): RE2's, freed with the arena; for any thread. NULL: *ret_why says what is wrong. */
const struct cel__regex *cel__regex(struct arena *, struct str pattern, const char **ret_why);
/* Bytes that it takes outside of the arena. */
size_t cel__regex_size(const struct cel__regex *);
/* The same for a run: one of the program's, or of the last ones it made. NULL: *ret_error. */
const struct cel__regex *cel__pattern(struct cel__eval *, struct str pattern, struct cel_value *ret_error);
/* 1: found, from *ret_from to *ret_to, at or behind `from`; 0: not; -1: it took too many steps, *ret_error. */
int cel__regex_find(struct cel__eval *, const struct cel__regex *, struct str text, size_t from, size_t *ret_from, size_t *ret_to,
		    struct cel_value *ret_error);

/* Times (time.c). */
bool cel__timestamp_parse(struct str, struct cel_value *ret);
bool cel__timestamp_ok(int64_t seconds);
struct cel__civil {
	int64_t year;
	int month, day; /* from 1 */
	int weekday;    /* from Sunday, 0 */
	int yearday;    /* from 0 */
	int hour, minute, second;
};
void cel__civil(int64_t seconds, struct cel__civil *ret);
struct str cel__double_text(struct arena *, double);
/* Seconds east of UTC at a moment, by a TZif file; false: it is none. */
bool cel__zone_offset(struct str tzif, int64_t at, int64_t *ret);
struct str cel__timestamp_text(struct arena *, struct cel_value);
struct str cel__duration_text(struct arena *, int64_t ns);

/* ---- running (eval.c) ---- */

struct cel__matcher;

struct cel__eval {
	struct arena *a;
	const struct cel_program *program;
	struct cel_run *run;
	struct cel_value *slots;
	const struct cel__expr **pending; /* of binds: what makes the slot's value */
	const struct cel_value *vars;
	uint64_t cost, limit;
	uint64_t steps;
	struct {
		struct str pattern;
		const struct cel__regex *regex;
	} patterns[8]; /* the last that were used */
	unsigned next_pattern;
	struct cel__matcher *matcher; /* what matching needs besides the expression; NULL: not yet */
	size_t memory;             /* what the arena had at the start */
	struct cel__eval *around;  /* the run whose lazy field this one is made for: all together have one limit */
	bool stopped;  /* out of cost or memory: everything is an error from here */
};

/* False when that was too much. */
bool cel__pay(struct cel__eval *, uint64_t);
bool cel__memory_ok(struct cel__eval *);
size_t cel__memory(const struct cel__eval *);
/* The value out of the run's memory (copy.c). */
struct cel_value cel__copy(struct arena *, struct cel_value);
/* To go over a character of text, and to match one by a character of a pattern. */
#define CEL__STRING_FACTOR 0.1
#define CEL__REGEX_FACTOR 0.25
/* What a call costs (cost_run.c); of join, all but what depends on its result. */
uint64_t cel__call_cost(struct cel__eval *, const struct cel__expr *call, const struct cel__overload *,
			const struct cel_value *args);
/* What upstream takes for the length of a named format's expression. */
uint64_t cel__format_regex_size(const struct cel_opaque *);
/* By which rule a call is paid; it is the same each time it runs. */
uint8_t cel__cost_rule(const struct cel__expr *call);
uint64_t cel__join_cost(struct cel_value result);
/* What a call costs that is not made, since an argument is an error. */
uint64_t cel__failed_call_cost(struct cel__eval *, const struct cel__expr *call, const struct cel_value *args);
/* Those look at their second argument only where the first is none (eval.c). */
bool cel__is_optional_or(const struct cel__overload *);
/* Values known before it runs. */
struct cel_value cel__eval_constant(struct arena *, const struct cel__expr *);
/* v.name or v[key]; optional: an optional of it, none when it is not there. An optional v passes that on. */
struct cel_value cel__qualify(struct arena *, struct cel_value v, struct cel_value key, bool optional);
/* A buffer that does not grow past what the run may take. */
struct buf cel__buf(const struct cel__eval *);
/* What it holds as a string; the buffer is freed. An error when it was too much. */
struct cel_value cel__buf_string(struct cel__eval *, struct buf *);

#endif
