/*
 * Which volume suits which claim: pure questions over claims, volumes and classes, for the binder, the provisioner and the scheduler.
 *
 * A volume suits when it is free (or reserved for this very claim), of the claim's class and volumeMode, offers its access modes, is large
 * enough, and carries the labels that the claim's selector asks for. Of those that suit, one reserved for the claim wins, then the smallest.
 */
#ifndef ORCHESTRATOR_CONTROLLERS_VOLUME_MATCH_H
#define ORCHESTRATOR_CONTROLLERS_VOLUME_MATCH_H

#include <stdbool.h>

#include "orchestrator/controllers/controller.h"
#include "proto/core.pb-c.h"
#include "proto/storage.pb-c.h"

#define ANN_BIND_COMPLETED "pv.kubernetes.io/bind-completed"
#define ANN_BOUND_BY_CONTROLLER "pv.kubernetes.io/bound-by-controller"
#define ANN_PROVISIONED_BY "pv.kubernetes.io/provisioned-by"
#define ANN_PROVISIONER "volume.kubernetes.io/storage-provisioner"
#define ANN_SELECTED_NODE "volume.kubernetes.io/selected-node"
#define NO_PROVISIONER "kubernetes.io/no-provisioner"

/* Our own provisioner: directories on nodes. The first is also the finalizer of its volumes; the second tells on which node. */
#define LOCAL_PATH "kontiki.dev/local-path"
#define ANN_LOCAL_NODE "kontiki.dev/node"

const char *meta_annotation(const Meta__ObjectMeta *, const char *key);
/* "" for none. */
const char *claim_class_name(const Core__PersistentVolumeClaim *);
const char *volume_class_name(const Core__PersistentVolume *);
/* NULL: there is none of that name. */
const Storage__StorageClass *claim_class(const struct view *, const Core__PersistentVolumeClaim *);
/* Its class wants to know first where a pod of it runs. */
bool claim_waits_for_consumer(const struct view *, const Core__PersistentVolumeClaim *);
/* Completely bound, in both directions as far as the claim knows. */
bool claim_is_bound(const Core__PersistentVolumeClaim *);
/* The volume's claimRef names this claim (a uid, if there is one, must fit). */
bool volume_is_for(const Core__PersistentVolume *, const Core__PersistentVolumeClaim *);
/* NULL: the volume could serve the claim; else why not. Says nothing of who has it. */
const char *volume_mismatch(const Core__PersistentVolume *, const Core__PersistentVolumeClaim *);
/* node NULL: anywhere. */
bool volume_allows_node(const Core__PersistentVolume *, const Core__Node *);
/* The volume to bind: reserved for the claim, or the smallest free one that `node` (NULL: any) can use. only_reserved: no other. */
const struct informer_obj *volume_find(const struct view *, const Core__PersistentVolumeClaim *, const Core__Node *, bool only_reserved);
/* The claim that a volume of a pod means, NULL for other volumes; *ret_own: made for this pod alone (ephemeral). */
const char *pod_volume_claim(struct arena *, const Core__Pod *, const Core__Volume *, bool *ret_own);

#endif
