/* What the files of the kubelet share. See kubelet.h for how they work together. */
#ifndef KUBELET_PRIV_H
#define KUBELET_PRIV_H

#include "base/list.h"
#include "base/map.h"
#include "orchestrator/client/client.h"
#include "orchestrator/kubelet/containerd.h"
#include "orchestrator/kubelet/ephemeral.h"
#include "orchestrator/kubelet/eviction.h"
#include "orchestrator/kubelet/image-gc.h"
#include "orchestrator/kubelet/kubelet.h"
#include "orchestrator/kubelet/objects.h"
#include "orchestrator/kubelet/pod-config.h"
#include "orchestrator/kubelet/pod-status.h"
#include "orchestrator/kubelet/pod-sync.h"
#include "orchestrator/kubelet/runtime.h"

struct kubelet_node;
struct kubelet_server;
struct kubelet_events;
struct image_keeper;
struct pressure;
struct prober;

struct kubelet {
	struct kubelet_cfg *cfg;
	struct loop *loop;
	struct client *client;
	struct pod_host host;
	char *pods_dir, *logs_dir, *volumes_dir, *containerd_dir;
	struct containerd *containerd;
	struct containerd_user containerd_user;
	struct cri *cri;
	struct runtime *runtime;
	struct runtime_user runtime_user;
	bool runtime_ready;    /* containerd answers */
	bool look_at_all;      /* after the next relist: what came while the runtime was away was put off */
	bool network_ready;    /* the CNI configuration is written */
	bool pods_synced;
	char *network_trouble; /* why NetworkPolicies are not enforced; NULL: they are */
	bool called_unready;   /* by the API: our Node's condition */
	bool stopping;
	struct map workers;    /* uid -> struct pod_worker */
	struct map services;   /* ns/name -> struct kept */
	struct map service_objects; /* ns/name -> Core__Service, as env.h wants it */
	struct kubelet_events *events;
	struct kubelet_node *node;
	struct image_keeper *images;
	struct image_gc_cfg image_gc;
	struct pressure *pressure;
	struct eviction_cfg eviction;
	struct kubelet_server *server;
	struct loop_timer relist_timer, housekeeping_timer, exit_timer, resize_timer;
	struct map usage;      /* container id, "" for the node -> struct usage_sample, of server-stats.c */
	struct list exits;     /* struct exit_seen: told by an event, not shown by a relist yet */
	unsigned n_pending;    /* client requests and actions under way, for stop */
	void (*stopped)(void *arg);
	void *stopped_arg;
};

/* A message kept in an arena of its own, refcounted on the loop. */
struct kept {
	struct arena arena;
	unsigned refs;
	void *msg;
};
struct kept *kept_new(const void *msg); /* deep copy */
struct kept *kept_ref(struct kept *);
void kept_unref(struct kept *);

/* --- pod-worker.c ------------------------------------------------------------------------------------------------ */

struct work_container {
	char *name;
	bool init;
	bool ephemeral;
	struct backoff backoff;
	bool backoff_known;
	bool in_crash_loop;        /* told by an event */
	unsigned busy;             /* actions under way */
	int64_t not_before_ms;
	int64_t fail_delay_ms;
	bool waits_for_images;     /* the next imported archive may bring its image */
	char *reason, *message;    /* of the last failed start */
	char *probed_id;           /* the container that the probers look at */
	struct prober *probers[3]; /* enum probe_kind */
	char *unhealthy;
	int64_t unhealthy_grace_s;
	/* Of the last image look-up. */
	char *image_id;
	/* What the container of that id runs with: Core__ResourceRequirements. NULL: not known. */
	struct kept *actual;
	char *actual_id;
};

struct pod_worker {
	struct kubelet *k;
	char *uid, *ns, *name;
	struct kept *pod;            /* Core__Pod with the allocated resources; NULL: nobody wants it */
	struct kept *wanted;         /* the same as the API has it */
	Core__Container **ephemeral; /* the specs of its ephemeral containers, in the arena of `pod` */
	struct kept *status;         /* Core__PodStatus: what we said last */
	struct kept *saved;          /* the one that was sent last; NULL when that failed, or was contradicted */
	uint64_t saved_version;      /* of the object with it; 0: not known */
	struct work_container *c;
	size_t n_c;
	unsigned sandbox_busy, n_acts;
	struct list acts;            /* actions under way */
	int64_t sandbox_not_before_ms, sandbox_delay_ms;
	bool held;                   /* its containers wait for its network's rules */
	bool held_told;              /* by an event, since that is not over in a moment */
	uint64_t need_generation;
	struct loop_timer kick, wake, refresh, retell;
	struct objset *objects;      /* NULL until fetched */
	struct objects_fetch *fetch;
	bool volumes_ready;
	char *volumes_error;
	int64_t volumes_delay_ms;
	bool deadline_over;
	bool unwanted;               /* gone from the API */
	bool all_stopped, gone;      /* from the last sync */
	bool frozen;                 /* the final status is made; the runtime's records may go */
	/* It has to go, or was not taken at all: see pressure.c. */
	char *evicted;               /* the message; NULL: it was not evicted */
	int64_t evicted_grace_s;
	bool evicted_for_node;       /* a DisruptionTarget */
	bool refused;
	bool admitted;               /* or was asked, at its first look */
	bool forget;                 /* over: the disk is better used than by the runtime's records of it */
	bool over_cleaning;          /* over: its volumes, or what is forgotten, go off the loop */
	bool volumes_cleaned, logs_cleaned;
	bool status_busy, delete_busy, deleted;
	bool cleaning, cleaned;      /* the removal of its files, off the loop */
	int64_t write_delay_ms;
	struct client_req status_req, delete_req;
	int64_t first_seen_ms;
	bool closing;
	/* Resizing: see resize.h and pod-resize.c. */
	struct kept *whole;          /* what the pod's control group was given as the pod's own resources; NULL: nothing */
	int64_t resize_since_ms;     /* something else is wanted than is allocated; 0: it is not */
	const char *resize_reason;   /* Deferred, Infeasible; NULL: neither */
	char *resize_message;
	bool resize_began;           /* allocated, and not everything runs with it yet */
	int64_t resize_generation;   /* of the pod when it was allocated */
	char *resize_error;          /* why the last try to bring it to the containers failed */
	int64_t resize_not_before_ms, resize_delay_ms;
	unsigned resize_busy;
};

static inline Core__Pod *worker_pod(const struct pod_worker *w)
{
	return w->pod ? w->pod->msg : NULL;
}
struct pod_worker *worker_new(struct kubelet *, const char *uid, const char *ns, const char *name);
void worker_set(struct pod_worker *, const Core__Pod *);
/* Look at it soon. */
void worker_kick(struct pod_worker *);
/* It will run no more. */
bool worker_is_over(const struct pod_worker *);
/* End it and let it be Failed: it has to go. */
void worker_evict(struct pod_worker *, const char *message, int64_t grace_s, bool for_node);
/* It was never taken. */
void worker_refuse(struct pod_worker *, const char *message);
/* The runtime's records of pods that are over may go. */
void workers_forget_over(struct kubelet *);
/* Cancels what is under way and frees it when that has ended. */
void worker_close(struct pod_worker *);
/* What the pod refers to is asked for anew then, at the latest. */
void worker_refetch_in(struct pod_worker *, int64_t ms);
/* An action ended: a closing worker may be free now. */
void worker_release(struct pod_worker *);
const struct rt_pod *worker_rt(const struct pod_worker *);
struct work_container *worker_container(struct pod_worker *, const char *name);
const Core__Container *worker_spec(const struct pod_worker *, const char *name);
void worker_set_failed(struct pod_worker *, const char *container, const char *reason, const char *message, int64_t delay_ms);
/* The pod's address: the sandbox's, or the node's for hostNetwork; "" until known. */
const char *worker_ip(const struct pod_worker *);
struct env_ctx worker_env_ctx(const struct pod_worker *, const Core__Pod *);
int64_t wall_ms(void);

/* --- pod-actions.c: running one action as a series of steps ------------------------------------------------------- */

void act_start(struct pod_worker *, const struct act *);
/* The pod is to end: pulls and postStart hooks are given up, starts go no further than the step that runs. */
void acts_stop_starting(struct pod_worker *);
/* Ids under work that belong to no container of the spec; borrowed from the actions. */
const char **acts_ids(struct pod_worker *, struct arena *, size_t *ret_n);
/* All actions of the worker end soon, without a further step. */
void acts_cancel(struct pod_worker *);

/* --- pod-tell.c --------------------------------------------------------------------------------------------------- */

/* Write w->status, unless that was done. */
void tell_status(struct pod_worker *);
/* The API's object was read: say it again when that says otherwise. */
void tell_if_contradicted(struct pod_worker *);
/* Nothing of it is left here: its last status, then its object goes. */
void tell_deleted(struct pod_worker *);

/* --- pod-resize.c ------------------------------------------------------------------------------------------------- */

/* Look at all pods that want other resources than they have: when one wants so, or one gave something back. */
void resizes_look_soon(struct kubelet *);
/* From now on the pod has the resources of `from`. */
void worker_use(struct pod_worker *, const Core__Pod *from);
void worker_save_allocation(struct pod_worker *);
/* NULL: there is none. */
Core__Pod *worker_load_allocation(struct pod_worker *, struct arena *);
void worker_load_actual(struct pod_worker *, const Core__Pod *record);
void worker_set_actual(struct work_container *, const char *id, const Core__ResourceRequirements *);
/* What the pod's control group has of the resources of the pod as a whole; NULL: nothing. */
void worker_set_whole(struct pod_worker *, const Core__ResourceRequirements *);
const Core__ResourceRequirements *worker_whole(const struct pod_worker *);

/* --- pod-objects.c ------------------------------------------------------------------------------------------------ */

/* Fetch all that the pod refers to; done gets a filled set (the worker's to free). */
struct objects_fetch;
struct objects_fetch *objects_fetch_start(struct kubelet *, const Core__Pod *, const struct objset *old,
		void (*done)(void *arg, struct objset *), void *arg);
void objects_fetch_cancel(struct objects_fetch *);

/* --- images.c ----------------------------------------------------------------------------------------------------- */

struct image_get {
	struct kubelet *k;
	const char *image;  /* as in the spec; borrowed until done */
	const char *policy; /* "" for the default */
	const struct objset *objects;
	const Core__Pod *pod;
	void (*done)(struct image_get *);
	/* Result: reason NULL is success. */
	const char *reason;
	char message[512];
	char id[256];
	char user[128];
	int64_t uid;
	bool pulled;
	int64_t wait_ms; /* not 0: not there yet, but archives are being imported; look again then */
	uint64_t pull_ms;
	struct cri_call call;
	struct loop_timer later;
};
void image_get_start(struct image_get *);
/* done comes later all the same. */
void image_get_cancel(struct image_get *);
/* Whether a reference can be one at all. */
bool image_name_ok(const char *);
char *image_full_name(struct arena *, const char *);
const char *image_pull_policy(const Core__Container *);

/* --- hooks.c: what probes and lifecycle hooks do ------------------------------------------------------------------ */

enum check_kind { CHECK_EXEC, CHECK_HTTP, CHECK_TCP, CHECK_GRPC, CHECK_SLEEP };
struct check {
	struct kubelet *k;
	enum check_kind kind;
	uint64_t timeout_ms;
	void (*done)(struct check *);
	/* Result. */
	bool ok;
	bool unsure;      /* it could not be tried at all */
	char text[512];
	void *priv;       /* ours while it runs */
};
struct check_target {
	const Core__ExecAction *exec;
	const Core__HTTPGetAction *http;
	const Core__TCPSocketAction *tcp;
	const Core__GRPCAction *grpc;
	const Core__SleepAction *sleep;
	const Core__Container *container;
	const char *container_id, *pod_ip;
};
/* done comes once, later. Everything in the target is borrowed until then. False: nothing to do (no handler). */
bool check_start(struct check *, const struct check_target *);
void check_cancel(struct check *);

/* --- probe.c ------------------------------------------------------------------------------------------------------ */

enum probe_kind { PROBE_STARTUP, PROBE_READINESS, PROBE_LIVENESS, N_PROBES };
struct prober *prober_start(struct pod_worker *, const Core__Container *, enum probe_kind, const Core__Probe *,
		const struct rt_container *);
void prober_stop(struct prober *);
/* +1 passed, -1 failed, 0 not known yet. */
int prober_result(const struct prober *);

/* --- events.c ----------------------------------------------------------------------------------------------------- */

struct kubelet_events *events_new(struct kubelet *);
void events_close(struct kubelet_events *);
/* `container` may be NULL. warning: type Warning, else Normal. */
void pod_event(struct kubelet *, const Core__Pod *, const char *container, bool warning, const char *reason,
		const char *fmt, ...) __attribute__((format(printf, 6, 7)));

void node_event(struct kubelet *, bool warning, const char *reason, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* --- image-keeper.c ----------------------------------------------------------------------------------------------- */

struct image_keeper *image_keeper_new(struct kubelet *);
void image_keeper_close(struct image_keeper *);
/* Images may have come: look soon. */
void image_keeper_look(struct image_keeper *);
/* Where the runtime keeps them; NULL: not known yet. */
const char *image_keeper_path(const struct image_keeper *);
/* Fills status.images. */
void image_keeper_tell(const struct image_keeper *, struct arena *, Core__NodeStatus *);
/* Remove all that are not needed; done comes once, later, unless the kubelet stops. */
void image_keeper_reclaim(struct image_keeper *, void (*done)(struct kubelet *));

/* --- node-stats.c -------------------------------------------------------------------------------------------------- */

void machine_memory(struct observation *ret);
void disk_observe(const char *path, struct observation *bytes, struct observation *inodes);
/* Everything that there are signals of. *ret_images_apart: images have a disk of their own. */
void node_observe(const struct kubelet *, struct observation o[N_SIGNALS], bool *ret_images_apart);

/* --- pressure.c ---------------------------------------------------------------------------------------------------- */

struct pressure *pressure_new(struct kubelet *);
void pressure_close(struct pressure *);
/* The images that could be spared are removed. */
void pressure_reclaimed(struct kubelet *);
/* The Node's condition: whether it is so, what to say of it, since when. */
bool pressure_condition(const struct pressure *, struct arena *, enum node_pressure, struct pressure_text *ret, int64_t *ret_since_s);
/* Why a new pod is not taken; NULL: it is. */
char *pressure_refuses(const struct pressure *, struct arena *, const Core__Pod *);

/* --- node.c ------------------------------------------------------------------------------------------------------- */

struct kubelet_node *node_new(struct kubelet *);
void node_close(struct kubelet_node *);
void node_set(struct kubelet_node *, const Core__Node *);
void node_set_runtime(struct kubelet_node *, const char *version);
/* Something of the node's state changed: write it soon. */
void node_changed(struct kubelet_node *);
void node_allocatable(const struct kubelet *, int64_t *ret_cpu_milli, int64_t *ret_memory);
void node_capacity(struct kubelet *); /* fills what the host has, in k->host */

/* --- logs-rotate.c ----------------------------------------------------------------------------------------------- */

void logs_rotate(struct kubelet *);

/* --- server.c ----------------------------------------------------------------------------------------------------- */

int server_new(struct kubelet *, struct kubelet_server **ret, struct err *e);
void server_close(struct kubelet_server *, void (*closed)(void *arg), void *arg);
uint16_t server_port(const struct kubelet_server *);

/* --- server-volumes.c --------------------------------------------------------------------------------------------- */

/* Delete what was taken away, off the loop. */
void volumes_sweep(struct kubelet *);

/* --- kubelet.c ---------------------------------------------------------------------------------------------------- */

/* Count things under way, so that a stop can wait for them. */
void kubelet_busy(struct kubelet *);
void kubelet_idle(struct kubelet *);
void kubelet__runtime_asked(struct kubelet *);
/* The image of the pods' sandboxes. */
const char *kubelet_pause_image(const struct kubelet *);

#endif
