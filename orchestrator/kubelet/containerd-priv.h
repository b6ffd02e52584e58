/* Between the files of the containerd supervisor. */
#ifndef KUBELET_CONTAINERD_PRIV_H
#define KUBELET_CONTAINERD_PRIV_H

#include "orchestrator/kubelet/containerd.h"

/* Writes config.toml; *ret_changed: a file with other contents was there. */
int containerd__write_config(const struct containerd_config *, const char *path, bool *ret_changed, struct err *e);
const char *containerd__snapshotter(void);
/* The pid of the directory's containerd if it runs, else 0. */
pid_t containerd__pid(const char *dir);
/* containerd.services.events.v1: the SubscribeRequest we send, and the topic of an Envelope. */
void containerd__event_filters(struct buf *out);
bool containerd__event_parse(struct str envelope, struct containerd_event *ret);

/* Importing archives from a folder, a few at a time, the pause image first. */
struct containerd_images;
struct containerd_images *images_new(struct loop *, const struct containerd_config *, const char *socket,
		struct containerd_user *);
/* Import what is new or changed. Called when the runtime is ready; afterwards the folder is watched. */
void images_scan(struct containerd_images *);
bool images_first_pass_done(const struct containerd_images *);
bool images_has_name(const struct containerd_images *, const char *name);
bool images_have_pause(const struct containerd_images *);
void images_close(struct containerd_images *, void (*closed)(void *arg), void *arg);

#endif
