/* Shared between table.c, table_rows.c and table_kinds.c. */
#ifndef PROTO_TABLE_PRIV_H
#define PROTO_TABLE_PRIV_H

#include <stdint.h>

#include "base/buf.h"
#include "proto/json.h"

struct table__row {
	struct arena *a;
	struct json *cells;
	int64_t now;
};

/* Adds exactly the cells of the resource's columns. */
typedef void table__fn(struct table__row *, const struct json *obj);
/* NULL: no columns of its own. `api_version` and `kind` of the resource. */
table__fn *table__row_fn(const char *api_version, const char *kind);

/* ---- cells (table_rows.c): each of table__add* adds one ---- */

void table__add(struct table__row *, struct json *);
void table__add_str(struct table__row *, struct str);
/* s, or `otherwise` when it is empty. */
void table__add_or(struct table__row *, struct str, const char *otherwise);
void table__add_int(struct table__row *, int64_t);
/* What is printed into the buf, or `otherwise` when that is nothing. Frees the buf. */
void table__add_buf(struct table__row *, struct buf *, const char *otherwise);
void table__add_name(struct table__row *, const struct json *obj);
void table__add_age(struct table__row *, const struct json *obj);
void table__add_selector(struct table__row *, const struct json *label_selector);
/* Two: names, then images. */
void table__add_containers(struct table__row *, const struct json *containers);
/* The time since then as people say it. */
struct str table__since(struct table__row *, struct str time);
void table__print_labels(struct table__row *, struct buf *, const struct json *labels);
void table__print_strings(struct buf *, const struct json *list);
/* A comma, unless the buf is empty. */
void table__comma(struct buf *);
int64_t table__count_of(const struct json *obj, const char *path);

/* ---- rows (table_kinds.c) ---- */

table__fn table__row_pv, table__row_pvc, table__row_quota, table__row_pod_template,
	table__row_component_status, table__row_created, table__row_controller_revision,
	table__row_job, table__row_cron_job, table__row_hpa, table__row_csr, table__row_ingress,
	table__row_ingress_class, table__row_network_policy, table__row_ip_address,
	table__row_service_cidr, table__row_pdb, table__row_binding, table__row_priority_class,
	table__row_runtime_class, table__row_storage_class, table__row_csi_driver, table__row_csi_node,
	table__row_volume_attachment, table__row_attributes_class, table__row_webhooks,
	table__row_admission_policy, table__row_admission_binding, table__row_api_service,
	table__row_flow_schema, table__row_priority_level, table__row_claim, table__row_slice,
	table__row_metrics;

#endif
