#include "cli/tabs.h"

#include <stdlib.h>

#include "base/util.h"

#define MAX_COLUMNS 64u /* cells further right are not aligned */

struct line {
	const struct str *cells;
	size_t n_cells; /* the last one is not ended by a tab */
};

struct tabs {
	struct buf *out;
	struct line *lines;
	size_t n_lines;
	unsigned padding;
	size_t widths[MAX_COLUMNS];
	size_t n_widths;
};

/* Characters, not bytes: continuation bytes of UTF-8 do not count. */
static size_t text_width(struct str s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++)
		n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
	return n;
}

static void print_lines(struct tabs *t, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		const struct line *l = &t->lines[i];

		for (size_t j = 0; j < l->n_cells; j++) {
			buf_adds(t->out, l->cells[j]);
			if (j < t->n_widths)
				for (size_t w = text_width(l->cells[j]); w < t->widths[j]; w++)
					buf_add1(t->out, ' ');
		}
		if (i + 1 < t->n_lines)
			buf_add1(t->out, '\n');
	}
}

/* Lines [from, to) share the columns whose widths are known; find the blocks of the next column among them. */
static void align(struct tabs *t, size_t from, size_t to)
{
	size_t column = t->n_widths, at = from;

	while (at < to && column < MAX_COLUMNS) {
		size_t width = 0, begin = at;

		for (; at < to && column + 1 < t->lines[at].n_cells; at++)
			width = MAX(width, text_width(t->lines[at].cells[column]) + t->padding);
		if (at == begin) {
			at++;
			continue;
		}
		print_lines(t, from, begin);
		t->widths[t->n_widths++] = width;
		align(t, begin, at);
		t->n_widths--;
		from = at;
	}
	print_lines(t, from, to);
}

void tabs_align(struct buf *out, struct str text, unsigned padding)
{
	struct tabs t = {.out = out, .padding = padding, .n_lines = 1};
	size_t n_cells = 1, cell = 0, n = 0, start = 0;
	struct str *cells;

	for (size_t i = 0; i < text.n; i++) {
		n_cells += text.p[i] == '\t' || text.p[i] == '\n';
		t.n_lines += text.p[i] == '\n';
	}
	cells = xcalloc(n_cells, sizeof(*cells));
	t.lines = xcalloc(t.n_lines, sizeof(*t.lines));
	t.lines[0].cells = cells;
	for (size_t i = 0; i <= text.n; i++) {
		if (i < text.n && text.p[i] != '\t' && text.p[i] != '\n')
			continue;
		cells[cell++] = str_of(text.p + start, i - start);
		t.lines[n].n_cells++;
		start = i + 1;
		if (i < text.n && text.p[i] == '\n')
			t.lines[++n].cells = cells + cell;
	}
	align(&t, 0, t.n_lines);
	free(cells);
	free(t.lines);
}
