/* What a run of chaos came to: a page of text, and a picture of time: writes, latency, leader, faults. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/util.h"
#include "cli/chaos.h"

#define SLOT_US 250000u /* one bar of the picture */

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Percentile p of the calls that succeeded in [from, to), milliseconds; *ret_n: how many. */
static double percentile(struct chaos *c, uint64_t from, uint64_t to, unsigned p, size_t *ret_n)
{
	size_t n, m = 0;
	const struct chaos_sample *s = chaos_load_samples(c, &n);
	uint64_t *took = xcalloc(n + 1, sizeof(*took));
	double ms;

	for (size_t i = 0; i < n; i++)
		if (s[i].ok && s[i].at >= from && s[i].at < to)
			took[m++] = s[i].took;
	qsort(took, m, sizeof(*took), by_size);
	ms = m ? (double)took[MIN(m - 1, m * p / 100)] / 1000 : 0;
	free(took);
	*ret_n = m;
	return ms;
}

/* The longest time without a write that succeeded, within [from, to]. */
static double longest_gap(struct chaos *c, uint64_t from, uint64_t to)
{
	size_t n;
	const struct chaos_sample *s = chaos_load_samples(c, &n);
	uint64_t last = from, gap = 0;

	for (size_t i = 0; i < n; i++) {
		if (!s[i].ok || !s[i].write || s[i].at < from || s[i].at > to)
			continue;
		gap = MAX(gap, s[i].at - MIN(last, s[i].at));
		last = s[i].at;
	}
	return (double)MAX(gap, to - MIN(last, to)) / 1000;
}

void chaos_report(struct chaos *c, const struct verdict *v, bool caught_up, FILE *f)
{
	size_t n, n_leads, changes = 0;
	const struct chaos_lead *leads = chaos_load_leads(c, &n_leads);
	double p50 = percentile(c, 0, UINT64_MAX, 50, &n), p99 = percentile(c, 0, UINT64_MAX, 99, &n);

	for (size_t i = 1; i < n_leads; i++)
		changes += leads[i].leader != leads[i - 1].leader;
	fprintf(f, "\nfault       times  longest gap between writes\n");
	for (size_t i = 0; i < c->n_spans; i++) {
		double worst = 0;
		unsigned times = 0;
		bool first = true;

		for (size_t j = 0; j < c->n_spans; j++) {
			if (strcmp(c->spans[j].what, c->spans[i].what) != 0)
				continue;
			first = first && j >= i;
			times++;
			worst = MAX(worst, longest_gap(c, c->spans[j].from, c->spans[j].to));
		}
		if (first)
			fprintf(f, "%-10s %6u  %10.0f ms\n", c->spans[i].what, times, worst);
	}
	fprintf(f, "\n%zu calls succeeded, %zu failed, %zu without an answer, of which %zu happened; half within %.1f ms, 99%% within %.1f ms\n",
		v->n_ok, v->n_failed, v->n_unknown, v->n_placed, p50, p99);
	fprintf(f, "%zu watches were told %zu events; %zu leases ended; revision %" PRId64 "; %zu changes of leader were seen\n", v->n_watches,
		v->n_events, v->n_expired, v->revision, changes);
	if (!caught_up)
		fprintf(f, "NOT GOOD: a watch on some member did not catch up with the last write\n");
	if (v->kind == VERDICT_GOOD)
		fprintf(f, "good: no client saw anything that one correct etcd could not have shown it\n");
	else
		fprintf(f, "%s: %s\n", v->kind == VERDICT_BAD ? "BAD" : "UNDECIDED", v->text);
}

/* --- The picture -------------------------------------------------------------------------------------------------- */

#define WIDTH 1200.0
#define LEFT 90.0
#define WRITES_TOP 40.0
#define WRITES_HEIGHT 140.0
#define LATENCY_TOP 220.0
#define LATENCY_HEIGHT 110.0
#define LEADER_TOP 370.0
#define FAULTS_TOP 410.0
#define ROW 18.0

static const char *const colors[CHAOS_NODES_MAX] = {"#4e79a7", "#f28e2b", "#59a14f", "#b07aa1", "#76b7b2",
						      "#edc948", "#ff9da7", "#9c755f", "#bab0ac"};

static double x_of(uint64_t at, uint64_t end)
{
	return LEFT + (WIDTH - LEFT - 20) * (double)at / (double)MAX(end, 1);
}

static void text(struct buf *b, double x, double y, const char *anchor, const char *s)
{
	buf_printf(b, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", x, y, anchor, s);
}

static void rect(struct buf *b, double x, double y, double w, double h, const char *color, const char *title)
{
	buf_printf(b, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"><title>%s</title></rect>\n", x, y,
		   MAX(w, 0.5), h, color, title);
}

static void draw_writes(struct chaos *c, struct buf *b, uint64_t end)
{
	size_t n, slots = (size_t)(end / SLOT_US) + 1;
	const struct chaos_sample *s = chaos_load_samples(c, &n);
	unsigned *count = xcalloc(slots, sizeof(*count)), most = 1;
	char label[64];

	for (size_t i = 0; i < n; i++)
		if (s[i].ok && s[i].write && s[i].at / SLOT_US < slots)
			most = MAX(most, ++count[s[i].at / SLOT_US]);
	for (size_t i = 0; i < slots; i++) {
		double h = WRITES_HEIGHT * count[i] / most;

		snprintf(label, sizeof(label), "%.2f s: %u writes a second", (double)i * SLOT_US / 1e6, count[i] * (1000000 / SLOT_US));
		if (count[i])
			rect(b, x_of(i * SLOT_US, end), WRITES_TOP + WRITES_HEIGHT - h,
			     x_of((i + 1) * SLOT_US, end) - x_of(i * SLOT_US, end) - 0.3, h, "#4e79a7", label);
	}
	snprintf(label, sizeof(label), "%u/s", most * (1000000 / SLOT_US));
	text(b, LEFT - 6, WRITES_TOP + 10, "end", label);
	text(b, LEFT - 6, WRITES_TOP + WRITES_HEIGHT, "end", "writes 0");
	free(count);
}

/* Logarithmic, 1 ms to 10 s. */
static void draw_latency(struct chaos *c, struct buf *b, uint64_t end)
{
	static const struct {
		double ms;
		const char *label;
	} marks[] = {{1, "1 ms"}, {10, "10 ms"}, {100, "100 ms"}, {1000, "1 s"}};

	for (size_t i = 0; i < ARRAY_LEN(marks); i++) {
		double y = LATENCY_TOP + LATENCY_HEIGHT * (1 - (double)i / 4);

		buf_printf(b, "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>\n", LEFT, WIDTH - 20, y, y);
		text(b, LEFT - 6, y + 4, "end", marks[i].label);
	}
	for (uint64_t at = 0; at < end; at += SLOT_US) {
		size_t n;
		double ms = percentile(c, at, at + SLOT_US, 99, &n), up = 0;
		char label[64];

		if (n == 0)
			continue;
		for (double v = MAX(ms, 1); v >= 10; v /= 10)
			up += 1;
		/* Between powers of ten a straight line is near enough for a picture. */
		for (double v = MAX(ms, 1), base = 1; base < 1e5; base *= 10)
			if (v >= base && v < base * 10)
				up += (v - base) / (base * 9);
		snprintf(label, sizeof(label), "%.2f s: 99%% within %.1f ms", (double)at / 1e6, ms);
		rect(b, x_of(at, end), LATENCY_TOP + LATENCY_HEIGHT * (1 - MIN(up, 4) / 4) - 1.5,
		     x_of(at + SLOT_US, end) - x_of(at, end), 3, "#e15759", label);
	}
}

static void draw_leaders(struct chaos *c, struct buf *b, uint64_t end)
{
	size_t n;
	const struct chaos_lead *s = chaos_load_leads(c, &n);

	text(b, LEFT - 6, LEADER_TOP + 13, "end", "leader");
	for (size_t i = 0; i < n; i++) {
		uint64_t until = MIN(i + 1 < n ? s[i + 1].at : end, s[i].at + 600000);

		rect(b, x_of(s[i].at, end), LEADER_TOP, x_of(until, end) - x_of(s[i].at, end), ROW, colors[s[i].leader],
		     c->l.nodes[s[i].leader].name);
	}
	for (unsigned i = 0; i < c->l.n_nodes; i++) {
		rect(b, LEFT + 110.0 * i, 12, 12, 12, colors[i], c->l.nodes[i].name);
		text(b, LEFT + 110.0 * i + 18, 22, "start", c->l.nodes[i].name);
	}
}

static void draw_faults(struct chaos *c, struct buf *b, uint64_t end)
{
	for (size_t i = 0; i < c->n_spans; i++) {
		const struct chaos_span *s = &c->spans[i];
		double y = FAULTS_TOP + ROW * (double)(i % 6);
		char label[160];

		snprintf(label, sizeof(label), "%s %s, %.1f to %.1f s", s->what, s->where, (double)s->from / 1e6, (double)s->to / 1e6);
		rect(b, x_of(s->from, end), y, x_of(s->to, end) - x_of(s->from, end), ROW - 4, "#bab0ac", label);
		rect(b, x_of(s->from, end), WRITES_TOP, 0.5, FAULTS_TOP - WRITES_TOP, "#ccc", label);
		snprintf(label, sizeof(label), "%s %s", s->what, s->where);
		text(b, x_of(s->from, end) + 2, y + 11, "start", label);
	}
	text(b, LEFT - 6, FAULTS_TOP + 12, "end", "faults");
}

int chaos_picture(struct chaos *c, const char *path, struct err *e)
{
	uint64_t end = chaos_now(c);
	struct buf b = BUF_INIT;
	double bottom = FAULTS_TOP + 6 * ROW + 30;
	int rv;

	buf_printf(&b,
		   "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" font-family=\"sans-serif\" font-size=\"11\">\n"
		   "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
		   WIDTH, bottom);
	draw_leaders(c, &b, end);
	draw_faults(c, &b, end);
	draw_writes(c, &b, end);
	draw_latency(c, &b, end);
	for (uint64_t at = 0; at < end; at += MAX(end / 12 / 1000000, 1) * 1000000) {
		char label[32];

		snprintf(label, sizeof(label), "%" PRIu64 " s", at / 1000000);
		text(&b, x_of(at, end), bottom - 8, "middle", label);
	}
	buf_addc(&b, "</svg>\n");
	rv = file_put(path, buf_str(&b), 0644, true, e);
	buf_fini(&b);
	return rv;
}
