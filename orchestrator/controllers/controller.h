/*
 * Controllers: rows {name, watches, reconcile}, and the one runner that drives them on the leader.
 *
 * A reconcile is a pure function of what the informers show and the time: it looks at one key ("ns/name") and appends
 * actions to a plan; it does no I/O and keeps no state. The runner owns everything that waits: a queue for each controller with
 * one entry a key, the execution of plans, back-off after errors, and the wait until the informers show what a plan wrote -
 * so a reconcile never acts twice on the same old view (what upstream needs "expectations" for):
 *
 *	change of an object --map--> key --queue--> reconcile --plan--> API writes --wait until visible--> next round
 *
 * All of it runs on one loop, started when this member becomes leader and stopped when it ceases to be.
 *
 *	static void reconcile_x(struct reconcile *r)
 *	{
 *		const struct informer_obj *o = view_get(r->view, VIEW_X, r->ns, r->name);
 *		if (o == NULL) return;
 *		...
 *		plan_create(r, VIEW_PODS, r->ns, pod);
 *		plan_stage(r);                       what follows waits for what came before
 *		plan_update_status(r, VIEW_X, copy);
 *	}
 */
#ifndef ORCHESTRATOR_CONTROLLERS_CONTROLLER_H
#define ORCHESTRATOR_CONTROLLERS_CONTROLLER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "orchestrator/informer/informer.h"
#include "proto/core.pb-c.h"

struct client;
struct controllers;
struct json;
struct x509_cert;
struct x509_key;
struct loop;

/* --- What controllers see ------------------------------------------------------------------------------ */

/* id, group, version, plural, protobuf-c prefix */
#define VIEW_TABLE(X)                                                                              \
	X(PODS, "", "v1", "pods", core__pod)                                                       \
	X(NODES, "", "v1", "nodes", core__node)                                                    \
	X(NAMESPACES, "", "v1", "namespaces", core__namespace)                                     \
	X(SERVICES, "", "v1", "services", core__service)                                           \
	X(ENDPOINTS, "", "v1", "endpoints", core__endpoints)                                       \
	X(CONFIGMAPS, "", "v1", "configmaps", core__config_map)                                    \
	X(SERVICEACCOUNTS, "", "v1", "serviceaccounts", core__service_account)                     \
	X(REPLICASETS, "apps", "v1", "replicasets", apps__replica_set)                             \
	X(REPLICATIONCONTROLLERS, "", "v1", "replicationcontrollers", core__replication_controller) \
	X(DEPLOYMENTS, "apps", "v1", "deployments", apps__deployment)                              \
	X(DAEMONSETS, "apps", "v1", "daemonsets", apps__daemon_set)                                \
	X(STATEFULSETS, "apps", "v1", "statefulsets", apps__stateful_set)                          \
	X(REVISIONS, "apps", "v1", "controllerrevisions", apps__controller_revision)               \
	X(CLAIMS, "", "v1", "persistentvolumeclaims", core__persistent_volume_claim)               \
	X(VOLUMES, "", "v1", "persistentvolumes", core__persistent_volume)                         \
	X(CLASSES, "storage.k8s.io", "v1", "storageclasses", storage__storage_class)               \
	X(JOBS, "batch", "v1", "jobs", batch__job)                                                 \
	X(CRONJOBS, "batch", "v1", "cronjobs", batch__cron_job)                                    \
	X(ENDPOINTSLICES, "discovery.k8s.io", "v1", "endpointslices", discovery__endpoint_slice)   \
	X(RESOURCEQUOTAS, "", "v1", "resourcequotas", core__resource_quota)                        \
	X(CSRS, "certificates.k8s.io", "v1", "certificatesigningrequests",                         \
		certificates__certificate_signing_request)                                         \
	X(CLUSTERROLES, "rbac.authorization.k8s.io", "v1", "clusterroles", rbac__cluster_role)     \
	X(CRDS, "apiextensions.k8s.io", "v1", "customresourcedefinitions",                         \
		apiextensions__custom_resource_definition)                                         \
	X(POLICIES, "admissionregistration.k8s.io", "v1", "validatingadmissionpolicies",          \
		admissionregistration__validating_admission_policy)                                \
	X(ACCOUNT_TOKENS, "", "v1", "secrets", core__secret)     /* these three: of one type only */ \
	X(BOOTSTRAP_TOKENS, "", "v1", "secrets", core__secret)                                     \
	X(JOIN_TOKENS, "", "v1", "secrets", core__secret)                                          \
	X(HPAS, "autoscaling", "v2", "horizontalpodautoscalers", autoscalingv2__horizontal_pod_autoscaler) \
	X(INGRESSES, "networking.k8s.io", "v1", "ingresses", networking__ingress)                  \
	X(INGRESSCLASSES, "networking.k8s.io", "v1", "ingressclasses", networking__ingress_class)  \
	X(APISERVICES, "apiregistration.k8s.io", "v1", "apiservices", apiregistration__apiservice) \
	X(BUDGETS, "policy", "v1", "poddisruptionbudgets", policy__pod_disruption_budget)          \
	X(LEASES, "coordination.k8s.io", "v1", "leases", coordination__lease)

enum view_id {
#define X(id, group, version, plural, prefix) VIEW_##id,
	VIEW_TABLE(X)
#undef X
	VIEW_N,
};

struct view {
	struct informer *inf[VIEW_N];
	struct informer_index *pods_by_owner, *pods_by_namespace, *pods_by_node, *replicasets_by_owner;
	struct informer_index *slices_by_service; /* "ns/service" */
	struct informer_index *by_any_owner[VIEW_N]; /* by the uid of each owner, for garbage collection */
	struct list customs; /* of struct custom_kind, see customs.h */
	struct list remotes; /* of struct remote_group, see remotes.h */
};

/* The view of all of a kind, VIEW_N when none has it. */
enum view_id view_of_kind(const char *api_version, const char *kind);
/* The view that an object came from. */
enum view_id view_of(const struct informer_obj *);
const char *view_kind(enum view_id, const char **ret_api_version);

static inline const struct informer_obj *view_get(const struct view *v, enum view_id id, const char *ns, const char *name)
{
	return informer_get(v->inf[id], ns, name);
}

/* --- Plans --------------------------------------------------------------------------------------------- */

struct plan_action;

struct reconcile {
	const struct view *view;
	const char *key, *ns, *name; /* ns is "" for cluster scope */
	int64_t now_s;               /* wall clock, Unix seconds */
	uint64_t now_ms;             /* monotonic */
	struct arena *arena;         /* of this round: build the messages here */
	const void *arg;             /* the controller's settings (struct controllers_cfg) */
	const char *component;       /* whom its events are from */
	const char *refused;         /* what the API said when the round before this one could not create something; NULL: it could */
	/*
	 * What the round before this one expected to be empty and was not, of each resource how many there are (at most 500 are counted) and
	 * how many of these have which finalizer: {"pods.": {"": 2, "a.b/c": 1}}. NULL: nothing.
	 */
	const struct json *left;
	struct list actions;         /* the runner's */
	unsigned stage;
	uint64_t again_ms;           /* 0: only when something changes */
};

/* Messages must live in r->arena (or longer) and not be changed afterwards. */
void plan_create(struct reconcile *, enum view_id, const char *ns, const void *msg);
/* The message carries the resourceVersion it was based on; a conflict makes the key come again. */
void plan_update(struct reconcile *, enum view_id, const void *msg);
void plan_update_status(struct reconcile *, enum view_id, const void *msg);
/* Only if the uid still fits. grace_s -1: the object's default. propagation NULL: the default. Absent: fine. */
void plan_delete(struct reconcile *, enum view_id, const struct informer_obj *, int64_t grace_s, const char *propagation);
/* PUT of a further subresource ("finalize"). */
void plan_update_sub(struct reconcile *, enum view_id, const char *sub, const void *msg);
/* Delete everything of a resource in a namespace; not everything is gone when it succeeds. */
void plan_delete_collection(struct reconcile *, const struct resource *, const char *ns);
/* A request to a path of the API, "DELETE" and the like, that must succeed. */
void plan_call(struct reconcile *, const char *method, const char *path);
/* Go on only if the API shows nothing of the resource in the namespace; else the key comes again. */
void plan_expect_empty(struct reconcile *, const struct resource *, const char *ns);
/* Go on only if the API (not the cache) has no object of that name and uid ("": any). */
void plan_expect_absent(struct reconcile *, enum view_id, const char *ns, const char *name, const char *uid);
/* A core/v1 Event about an object of this kind. type: "Normal" or "Warning". Best effort: its failure is only logged. */
void plan_event(struct reconcile *, enum view_id, const struct informer_obj *about, const char *type, const char *reason,
		const char *fmt, ...) __attribute__((format(printf, 6, 7)));
/* Such an event, as it is written; `component`: from whom, a constant. */
Core__Event *event_about(struct arena *, int64_t now_s, const char *component, enum view_id, const Meta__ObjectMeta *about, const char *type,
		const char *reason, const char *message);
/* Of any resource, by name: delete it. */
void plan_delete_of(struct reconcile *, const struct resource *, const struct informer_obj *, const char *propagation);
/* A list of the object's metadata ("finalizers") becomes this one. Of a view's kind (resource NULL), or of any (VIEW_N). */
void plan_patch_list(struct reconcile *, enum view_id, const struct resource *, const struct informer_obj *, const char *key,
		struct json *list);
/* A strategic merge patch of the status subresource: lists with merge keys are merged. Only if the uid still fits. */
void plan_patch_status(struct reconcile *, enum view_id, const struct informer_obj *, struct json *status);
void plan_expect_absent_of(struct reconcile *, const struct resource *, const char *ns, const char *name, const char *uid);
/* The last action is another account's: what upstream has in a controller of its own. */
void plan_as(struct reconcile *, const char *account);
/* Actions after this wait until those before have succeeded; within a stage they run side by side. */
void plan_stage(struct reconcile *);
/* Come again after ms even if nothing changes; the smallest wish counts. */
void plan_again(struct reconcile *, uint64_t ms);

/* --- Rows ---------------------------------------------------------------------------------------------- */

/* Maps a changed object (the newest state; also called for the old one) to keys: calls enqueue for each. */
struct enqueue;
void enqueue_key(struct enqueue *, struct str key);
void enqueue_name(struct enqueue *, const char *ns, const char *name);
typedef void controller_map_fn(struct enqueue *, const struct view *, const struct informer_obj *);
/* The object itself. */
void map_self(struct enqueue *, const struct view *, const struct informer_obj *);
/* Nothing: the reconcile looks such objects up, and must wait until they are known. */
void map_nothing(struct enqueue *, const struct view *, const struct informer_obj *);
/* garbage.c: an object of a custom resource changed; NULL: all of the kind is known. */
struct custom_kind;
void map_custom(struct enqueue *, const struct view *, const struct custom_kind *, const struct informer_obj *);
/* The name of its controlling owner of that kind, in the same namespace. */
void map_owner(struct enqueue *, const struct informer_obj *, const char *kind);

#define CONTROLLER_WATCHES 20

struct controller_row {
	const char *name;
	const char *account; /* of kube-system, as upstream calls it; NULL: the client's user */
	const char *component; /* whom its events are from, as upstream calls that; NULL: the name */
	struct {
		enum view_id view;
		controller_map_fn *map; /* NULL ends the list */
	} watches[CONTROLLER_WATCHES];
	void (*reconcile)(struct reconcile *);
	unsigned workers;      /* keys in work at one time; 0: 8 */
	uint64_t resync_ms;    /* every key of the first watch comes again after so long; 0: never */
};

extern const struct controller_row controller_deployment, controller_replicaset, controller_replication, controller_endpointslice,
		controller_endpoints, controller_namespace, controller_garbage, controller_node_lifecycle, controller_node_ipam,
		controller_serviceaccount, controller_root_ca, controller_podgc, controller_clusterrole_aggregation,
		controller_resourcequota, controller_csr, controller_crd, controller_job, controller_daemonset, controller_statefulset,
		controller_claim_protection, controller_volume_protection, controller_volume_binder, controller_volume_local,
		controller_ephemeral_volume, controller_cronjob, controller_account_token, controller_token_cleaner, controller_join_token,
		controller_bootstrap_signer, controller_admission_policy, controller_ingress_status,
		controller_taint_eviction, controller_disruption, controller_stale_disruption;

/* crd.c: what a client needs to ask for the objects of a definition; NULL when they are not served. */
const struct resource *crd_resource(struct arena *, const struct informer_obj *definition);

/* --- The runner ------------------------------------------------------------------------------------------ */

/* Upstream waits 40 s; our nodes renew their leases more often, so a third of it is as safe. */
#define CONTROLLERS_NODE_GRACE_S 14

struct controllers_cfg {
	struct client *client;     /* on the loop that controllers_start is called on */
	struct loop *loop;
	const char *cluster_cidr;  /* "10.244.0.0/16" */
	unsigned node_cidr_bits;   /* 24 */
	struct str root_ca_pem;    /* for kube-root-ca.crt in each namespace */
	const struct x509_cert *ca_cert; /* sign certificate requests with these; key NULL: sign nothing */
	const struct x509_key *ca_key;
	const struct x509_key *sa_key; /* signs the tokens in service accounts' Secrets; NULL: they stay empty */
	int64_t sign_s;            /* how long such certificates live at most; 0: a year */
	uint64_t hpa_sync_ms;      /* a horizontal autoscaler is looked at so often; 0: every 15 s */
	unsigned node_grace_s;     /* without a heartbeat a node is Unknown after so long; 0: CONTROLLERS_NODE_GRACE_S */
};

/* Starts the informers and all controllers. The cfg is copied, what it points to is borrowed until stopped. */
struct controllers *controllers_start(const struct controllers_cfg *);
/* cb (may be NULL) is the last call. Requests under way are cancelled. */
void controllers_stop(struct controllers *, void (*cb)(void *arg), void *arg);
/* The view, for others on the same loop (the scheduler). */
struct view *controllers_view(struct controllers *);

/* --- Small helpers for reconciles -------------------------------------------------------------------------- */

/* ownerReferences entry with controller and blockOwnerDeletion set. */
void owner_set(struct arena *, void *msg, const struct informer_obj *owner, const char *api_version, const char *kind);
/* For plan_patch_list, "ownerReferences". */
struct json *owner_json(struct arena *, const Meta__OwnerReference *);
/* The controlling owner's reference, or NULL. */
const Meta__OwnerReference *owner_of(const Meta__ObjectMeta *);
bool owner_is(const Meta__ObjectMeta *, const struct informer_obj *owner);
/* metav1.LabelSelector (NULL or empty: matches nothing here) against labels. */
bool label_selector_matches(const Meta__LabelSelector *, const Meta__ObjectMeta *);
Meta__Time *time_now(struct arena *, int64_t now_s);
int64_t time_s(const Meta__Time *); /* 0 for NULL */

#endif
