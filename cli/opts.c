#include "cli/opts.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/util.h"

struct parse {
	const struct opt *rows[2];
	void *into[2];
	int argc;
	char **argv;
	int i;
	struct opt_args *args;
	struct err *e;
};

static void list_push(const char ***v, size_t *n, const char *s)
{
	*v = xrealloc(*v, (*n + 1) * sizeof(**v));
	(*v)[(*n)++] = s;
}

static const struct opt *find_opt(struct parse *p, struct str name, char letter, void **ret_into)
{
	for (int t = 0; t < 2; t++)
		for (const struct opt *o = p->rows[t]; o && o->name; o++)
			if (letter ? o->letter == letter : str_eqc(name, o->name)) {
				*ret_into = p->into[t];
				return o;
			}
	return NULL;
}

static int set_opt(const struct opt *o, void *into, const char *value, struct err *e)
{
	void *at = (char *)into + o->offset;
	struct opt_list *l;

	switch (o->type) {
	case OPT_STR:
		*(const char **)at = value;
		return 0;
	case OPT_BOOL:
		if (strcmp(value, "true") == 0 || strcmp(value, "1") == 0)
			*(bool *)at = true;
		else if (strcmp(value, "false") == 0 || strcmp(value, "0") == 0)
			*(bool *)at = false;
		else
			return err_set(e, ERR_BAD_REQUEST,
					"invalid argument \"%s\" for \"--%s\": must be true or false", value,
					o->name);
		return 0;
	case OPT_INT:
		if (!str_to_i64(str_from(value), at))
			return err_set(e, ERR_BAD_REQUEST,
					"invalid argument \"%s\" for \"--%s\": must be a whole number", value,
					o->name);
		return 0;
	case OPT_LIST:
		l = at;
		list_push(&l->v, &l->n, value);
		return 0;
	}
	UNREACHABLE();
}

/* The value that an option without `=` takes: its bare value, "true", or the next word. */
static int value_of(struct parse *p, const struct opt *o, const char **ret)
{
	if (o->bare) {
		*ret = o->bare;
		return 0;
	}
	if (o->type == OPT_BOOL) {
		*ret = "true";
		return 0;
	}
	if (p->i + 1 >= p->argc)
		return err_set(p->e, ERR_BAD_REQUEST, "flag needs an argument: --%s", o->name);
	*ret = p->argv[++p->i];
	return 0;
}

static int parse_long(struct parse *p, const char *word)
{
	struct str name, rest;
	const struct opt *o;
	const char *value;
	void *into;
	bool has_value = str_cut(str_from(word), '=', &name, &rest);

	o = find_opt(p, name, 0, &into);
	if (o == NULL)
		return err_set(p->e, ERR_BAD_REQUEST, "unknown flag: --%.*s", STR_FMT(name));
	value = rest.p;
	if (!has_value) {
		int rv = value_of(p, o, &value);

		if (rv < 0)
			return rv;
	}
	return set_opt(o, into, value, p->e);
}

static int parse_short(struct parse *p, const char *word)
{
	for (const char *c = word; *c; c++) {
		void *into;
		const struct opt *o = find_opt(p, STR_NULL, *c, &into);
		const char *value;
		int rv;

		if (o == NULL)
			return err_set(p->e, ERR_BAD_REQUEST, "unknown shorthand flag: '%c' in -%s", *c, word);
		if (o->type != OPT_BOOL && c[1] != '\0') {
			value = c[1] == '=' ? c + 2 : c + 1;
			return set_opt(o, into, value, p->e);
		}
		if (c[1] == '=')
			return set_opt(o, into, c + 2, p->e);
		rv = value_of(p, o, &value);
		if (rv == 0)
			rv = set_opt(o, into, value, p->e);
		if (rv < 0)
			return rv;
	}
	return 0;
}

static int read_env(struct parse *p)
{
	for (int t = 0; t < 2; t++)
		for (const struct opt *o = p->rows[t]; o && o->name; o++) {
			const char *v = o->env ? getenv(o->env) : NULL;
			int rv = v && *v ? set_opt(o, p->into[t], v, p->e) : 0;

			if (rv < 0)
				return rv;
		}
	return 0;
}

int opts_parse(const struct opt *rows, void *into, const struct opt *more, void *into_more, int argc,
		char **argv, struct opt_args *ret_args, struct err *e)
{
	struct parse p = {{rows, more}, {into, into_more}, argc, argv, 0, ret_args, e};
	int rv = read_env(&p);

	memset(ret_args, 0, sizeof(*ret_args));
	for (; rv == 0 && p.i < argc; p.i++) {
		const char *w = argv[p.i];

		if (strcmp(w, "--") == 0) {
			ret_args->has_dash = true;
			ret_args->n_before_dash = ret_args->n;
			for (p.i++; p.i < argc; p.i++)
				list_push(&ret_args->v, &ret_args->n, argv[p.i]);
			break;
		}
		if (w[0] == '-' && w[1] == '-')
			rv = parse_long(&p, w + 2);
		else if (w[0] == '-' && w[1] != '\0')
			rv = parse_short(&p, w + 1);
		else
			list_push(&ret_args->v, &ret_args->n, w);
	}
	if (!ret_args->has_dash)
		ret_args->n_before_dash = ret_args->n;
	if (rv < 0)
		opt_args_fini(ret_args);
	return rv;
}

void opt_args_fini(struct opt_args *a)
{
	free(a->v);
	memset(a, 0, sizeof(*a));
}

void opt_list_fini(struct opt_list *l)
{
	free(l->v);
	memset(l, 0, sizeof(*l));
}

void opts_print_help(const struct opt *rows, FILE *out)
{
	for (const struct opt *o = rows; o && o->name; o++) {
		char left[64];
		const char *arg = o->arg ? o->arg : "";

		if (o->letter)
			snprintf(left, sizeof(left), "-%c, --%s %s", o->letter, o->name, arg);
		else
			snprintf(left, sizeof(left), "    --%s %s", o->name, arg);
		fprintf(out, "  %-36s %s\n", left, o->help);
	}
}
