#include "orchestrator/apiserver/node_graph.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/map.h"
#include "base/util.h"
#include "orchestrator/apiserver/storage.h"
#include "proto/wire.h"

struct node_graph {
	struct map edges; /* "node/kind/ns/name" -> how many */
};

/*
 * Where a PodSpec names other objects: field numbers from the spec down to the name. Volumes are {1 name, 2 source}; a
 * container has 7 env {3 valueFrom} and 19 envFrom; most references are {1 LocalObjectReference {1 name}}.
 */
#define MAX_DEPTH 8
static const struct ref_path {
	enum node_edge kind;
	uint8_t fields[MAX_DEPTH];
} ref_paths[] = {
		{EDGE_ACCOUNT, {8}},                     /* serviceAccountName */
		{EDGE_SECRET, {15, 1}},                  /* imagePullSecrets */
		{EDGE_SECRET, {1, 2, 6, 1}},             /* volumes: secret */
		{EDGE_CONFIGMAP, {1, 2, 19, 1, 1}},      /* configMap */
		{EDGE_SECRET, {1, 2, 26, 1, 1, 1, 1}},   /* projected secret */
		{EDGE_CONFIGMAP, {1, 2, 26, 1, 3, 1, 1}}, /* projected configMap */
		{EDGE_CLAIM, {1, 2, 10, 1}},             /* persistentVolumeClaim */
		{EDGE_SECRET, {1, 2, 28, 5, 1}},         /* csi: nodePublishSecretRef */
		{EDGE_SECRET, {2, 7, 3, 4, 1, 1}},       /* containers: env secretKeyRef */
		{EDGE_CONFIGMAP, {2, 7, 3, 3, 1, 1}},    /* env configMapKeyRef */
		{EDGE_SECRET, {2, 19, 3, 1, 1}},         /* envFrom */
		{EDGE_CONFIGMAP, {2, 19, 2, 1, 1}},
		{EDGE_SECRET, {20, 7, 3, 4, 1, 1}}, /* initContainers */
		{EDGE_CONFIGMAP, {20, 7, 3, 3, 1, 1}},
		{EDGE_SECRET, {20, 19, 3, 1, 1}},
		{EDGE_CONFIGMAP, {20, 19, 2, 1, 1}},
		{EDGE_SECRET, {34, 1, 7, 3, 4, 1, 1}}, /* ephemeralContainers */
		{EDGE_CONFIGMAP, {34, 1, 7, 3, 3, 1, 1}},
		{EDGE_SECRET, {34, 1, 19, 3, 1, 1}},
		{EDGE_CONFIGMAP, {34, 1, 19, 2, 1, 1}},
};

struct node_graph *node_graph_new(void)
{
	struct node_graph *g = xcalloc(1, sizeof(*g));

	map_init(&g->edges);
	return g;
}

void node_graph_free(struct node_graph *g)
{
	if (!g)
		return;
	map_fini(&g->edges);
	free(g);
}

static struct str edge_key(struct arena *a, struct str node, enum node_edge kind, struct str ns, struct str name)
{
	return arena_sprintf(a, "%.*s/%c/%.*s/%.*s", STR_FMT(node), (char)kind, STR_FMT(ns), STR_FMT(name));
}

struct edge {
	struct node_graph *graph;
	struct arena *arena;
	struct str node, ns;
	bool add;
};

static void edge_count(const struct edge *ed, enum node_edge kind, struct str name)
{
	struct str key = edge_key(ed->arena, ed->node, kind, ed->ns, name);
	uintptr_t n = (uintptr_t)map_get(&ed->graph->edges, key);

	if (ed->add)
		map_put(&ed->graph->edges, key, (void *)(n + 1));
	else if (n > 1)
		map_put(&ed->graph->edges, key, (void *)(n - 1));
	else
		map_del(&ed->graph->edges, key);
}

static void follow(const struct edge *ed, const struct ref_path *path, unsigned depth, struct str msg)
{
	struct wire_reader r = wire_reader(msg);
	struct wire_item it = {0};
	bool last = depth + 1 == MAX_DEPTH || path->fields[depth + 1] == 0;

	while (wire_next(&r, &it)) {
		if (it.number != path->fields[depth] || it.type != WIRE_BYTES)
			continue;
		if (!last)
			follow(ed, path, depth + 1, it.bytes);
		else if (it.bytes.n > 0)
			edge_count(ed, path->kind, it.bytes);
	}
}

/* An ephemeral volume's claim is called after the pod and the volume. */
static void ephemeral_claims(const struct edge *ed, struct str spec, struct str pod)
{
	struct wire_reader r = wire_reader(spec);
	struct wire_item it = {0};

	while (wire_next(&r, &it)) {
		if (it.number != 1 || it.type != WIRE_BYTES || !storage_field(storage_field(it.bytes, 2), 29).p)
			continue;
		edge_count(ed, EDGE_CLAIM,
				arena_sprintf(ed->arena, "%.*s-%.*s", STR_FMT(pod), STR_FMT(storage_field(it.bytes, 1))));
	}
}

static void pod_edges(struct node_graph *g, struct str ns, struct str name, struct str spec, bool add)
{
	struct arena a;
	struct edge ed = {.graph = g, .arena = &a, .node = storage_field(spec, 10), .ns = ns, .add = add};

	if (ed.node.n == 0)
		return;
	arena_init(&a);
	edge_count(&ed, EDGE_POD, name);
	for (size_t i = 0; i < ARRAY_LEN(ref_paths); i++)
		follow(&ed, &ref_paths[i], 0, spec);
	ephemeral_claims(&ed, spec, name);
	arena_fini(&a);
}

void node_graph_pod(struct node_graph *g, struct str ns, struct str name, struct str before, struct str after)
{
	struct str old = before.n ? storage_field(before, 2) : STR_NULL, new = after.n ? storage_field(after, 2) : STR_NULL;

	/* Most changes of a pod are of its status. */
	if (old.n > 0 && str_eq(old, new))
		return;
	/* First what comes, so that an edge that stays never reaches nought. */
	pod_edges(g, ns, name, new, true);
	pod_edges(g, ns, name, old, false);
}

bool node_graph_has(const struct node_graph *g, struct str node, enum node_edge kind, struct str ns, struct str name)
{
	struct arena a;
	bool found;

	arena_init(&a);
	found = map_get(&g->edges, edge_key(&a, node, kind, ns, name)) != NULL;
	arena_fini(&a);
	return found;
}

size_t node_graph_edges(const struct node_graph *g)
{
	return map_len(&g->edges);
}
