/*
 * Who wrote which field: metadata.managedFields of every write, and server-side apply. The work is proto/fieldmanager.h's;
 * here are the names: the manager is the request's fieldManager or the first word of its user agent, the
 * subresource is the path's.
 */
#ifndef ORCHESTRATOR_APISERVER_MANAGED_H
#define ORCHESTRATOR_APISERVER_MANAGED_H

#include "orchestrator/apiserver/request.h"

/* 422 for options that do not go with this kind of patch: no manager for an apply, force for another. */
enum step_result managed_check_options(struct api_request *);
/* req->obj is going to replace req->old (NULL: it is new). Not after an apply, which has set the managers itself. */
void managed_track(struct api_request *);
/* A write that changed nothing but the times of managedFields has changed nothing. */
void managed_keep_times(struct api_request *);
/* The merge step of an apply: req->obj from req->old and the configuration sent. */
enum step_result managed_apply(struct api_request *);
/* Nothing is there to apply to: go on as a create. */
enum step_result managed_apply_new(struct api_request *);
/* Meanwhile somebody else made it. */
enum step_result managed_apply_again(struct api_request *);

#endif
