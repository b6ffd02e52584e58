#include "net/nft.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int set_order(const void *va, const void *vb)
{
	const struct nft_set *a = va, *b = vb;

	return strcmp(a->name, b->name);
}

static int chain_order(const void *va, const void *vb)
{
	const struct nft_chain *a = va, *b = vb;

	return strcmp(a->name, b->name);
}

void nft_table_sort(struct nft_table *t)
{
	if (t->n_sets > 0)
		qsort(t->sets, t->n_sets, sizeof(*t->sets), set_order);
	if (t->n_chains > 0)
		qsort(t->chains, t->n_chains, sizeof(*t->chains), chain_order);
	for (size_t i = 0; i < t->n_sets; i++)
		if (t->sets[i].n_elements > 0)
			qsort(t->sets[i].elements, t->sets[i].n_elements, sizeof(*t->sets[i].elements), by_text);
}

static const struct nft_set *find_set(const struct nft_table *t, const struct nft_set *like)
{
	return t && t->n_sets ? bsearch(like, t->sets, t->n_sets, sizeof(*t->sets), set_order) : NULL;
}

static const struct nft_chain *find_chain(const struct nft_table *t, const struct nft_chain *like)
{
	return t && t->n_chains ? bsearch(like, t->chains, t->n_chains, sizeof(*t->chains), chain_order) : NULL;
}

/* "verb element ip TABLE SET { those of `of` that are not in `without` }" */
static void elements(const char *verb, const struct nft_table *t, const struct nft_set *of, const struct nft_set *without,
		struct buf *out)
{
	size_t k = 0, n = 0;

	for (size_t i = 0; i < of->n_elements; i++) {
		while (without && k < without->n_elements && strcmp(without->elements[k], of->elements[i]) < 0)
			k++;
		if (without && k < without->n_elements && strcmp(without->elements[k], of->elements[i]) == 0)
			continue;
		if (n++ == 0)
			buf_printf(out, "%s element ip %s %s { ", verb, t->name, of->name);
		else
			buf_addc(out, ", ");
		buf_addc(out, of->elements[i]);
	}
	if (n > 0)
		buf_addc(out, " }\n");
}

/* What rules and elements refer to is declared before them. */
static void declare(const struct nft_table *old, const struct nft_table *new, struct buf *out)
{
	for (size_t i = 0; i < new->n_chains; i++) {
		const struct nft_chain *c = &new->chains[i];

		if (find_chain(old, c))
			continue;
		buf_printf(out, "add chain ip %s %s", new->name, c->name);
		if (c->hook)
			buf_printf(out, " { %s }", c->hook);
		buf_addc(out, "\n");
	}
	for (size_t i = 0; i < new->n_sets; i++)
		if (!find_set(old, &new->sets[i]))
			buf_printf(out, "add %s ip %s %s { type %s; }\n", new->sets[i].what, new->name, new->sets[i].name,
					new->sets[i].type);
}

static void fill(const struct nft_table *old, const struct nft_table *new, struct buf *out)
{
	static const struct nft_set none = {.n_elements = 0};

	for (size_t i = 0; i < new->n_sets; i++) {
		const struct nft_set *was = find_set(old, &new->sets[i]);

		if (was)
			elements("delete", new, was, &new->sets[i], out);
		elements("add", new, &new->sets[i], was ? was : &none, out);
	}
	for (size_t i = 0; i < new->n_chains; i++) {
		const struct nft_chain *c = &new->chains[i], *was = find_chain(old, c);
		struct str rules = str_from(c->rules), line;

		if (was && strcmp(was->rules, c->rules) == 0)
			continue;
		if (was)
			buf_printf(out, "flush chain ip %s %s\n", new->name, c->name);
		while (rules.n > 0) {
			str_cut(rules, '\n', &line, &rules);
			buf_printf(out, "add rule ip %s %s %.*s\n", new->name, c->name, STR_FMT(line));
		}
	}
}

/* Nothing new refers to what is gone; what is gone may refer to each other. */
static void drop(const struct nft_table *old, const struct nft_table *new, struct buf *out)
{
	for (size_t i = 0; i < old->n_chains; i++)
		if (!find_chain(new, &old->chains[i]))
			buf_printf(out, "flush chain ip %s %s\n", new->name, old->chains[i].name);
	for (size_t i = 0; i < old->n_sets; i++)
		if (!find_set(new, &old->sets[i]))
			buf_printf(out, "delete %s ip %s %s\n", old->sets[i].what, new->name, old->sets[i].name);
	for (size_t i = 0; i < old->n_chains; i++)
		if (!find_chain(new, &old->chains[i]))
			buf_printf(out, "delete chain ip %s %s\n", new->name, old->chains[i].name);
}

void nft_diff(const struct nft_table *old, const struct nft_table *new, struct buf *out)
{
	if (old == NULL || (new->n_chains == 0 && old->n_chains > 0)) {
		/* Declared first: to delete what is not there is an error. */
		buf_printf(out, "add table ip %s\ndelete table ip %s\n", new->name, new->name);
		old = NULL;
	}
	if (new->n_chains == 0)
		return;
	if (old == NULL || old->n_chains == 0)
		buf_printf(out, "add table ip %s\n", new->name);
	declare(old, new, out);
	fill(old, new, out);
	if (old)
		drop(old, new, out);
}

/* "	chain NAME {" */
static bool declares(struct str line, const char *what, struct str *ret_name)
{
	line = str_trim(line);
	if (!str_has_prefix(line, str_from(what)) || line.n <= strlen(what) || line.p[strlen(what)] != ' ')
		return false;
	line = str_skip(line, strlen(what) + 1);
	return str_cut(line, ' ', ret_name, &line) && str_eq(str_trim(line), STR("{"));
}

bool nft_is_there(const struct nft_table *t, struct str listing)
{
	size_t n = 0;

	while (listing.n > 0) {
		struct str line, name;
		char text[128];

		str_cut(listing, '\n', &line, &listing);
		if (!declares(line, "chain", &name) && !declares(line, "set", &name) && !declares(line, "map", &name))
			continue;
		snprintf(text, sizeof(text), "%.*s", STR_FMT(name));
		if (!find_chain(t, &(struct nft_chain){.name = text}) && !find_set(t, &(struct nft_set){.name = text}))
			return false;
		n++;
	}
	return n == t->n_sets + t->n_chains;
}
