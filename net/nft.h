/*
 * A table of nftables as plain values, and the input for `nft -f` that makes it so: one transaction, whole or not at all.
 *
 * A table has sets (maps too), whose elements are texts, and chains, whose rules are one text. With the table that is there now the
 * input has the differences only: elements that come and go, chains that changed. Without one the table is made anew, whatever was
 * there of that name. Sets and chains are sorted by name, elements by their text (nft_table_sort). Pure.
 */
#ifndef NET_NFT_H
#define NET_NFT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

struct nft_set {
	const char *name;
	const char *what; /* "set" or "map" */
	const char *type; /* "ipv4_addr", "ipv4_addr : verdict" */
	const char **elements;
	size_t n_elements;
};

struct nft_chain {
	const char *name;
	const char *hook; /* "type filter hook forward priority 0; policy accept;"; NULL: only jumped to */
	const char *rules; /* lines, each with its newline */
};

struct nft_table {
	const char *name; /* of family ip */
	struct nft_set *sets;
	size_t n_sets;
	struct nft_chain *chains;
	size_t n_chains;
};

void nft_table_sort(struct nft_table *);
/* Appends nothing when both are equal. `old` NULL: unknown. `new` with no chain: the table is removed. */
void nft_diff(const struct nft_table *old, const struct nft_table *new, struct buf *out);
/* Whether all sets and chains, and no other, are in what `nft -t list table ip NAME` printed. */
bool nft_is_there(const struct nft_table *, struct str listing);

#endif
