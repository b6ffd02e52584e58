/*
 * A custom kind in two versions for tests, and the webhook that converts between them: v1beta1 has spec.watts, v1 has spec.power with a
 * unit. Other questions than ConversionReviews go to lamp_rig_other.
 */
#ifndef TESTS_UNIT_APISERVER_LAMP_RIG_H
#define TESTS_UNIT_APISERVER_LAMP_RIG_H

#include "tests/unit/orchestrator/apiserver/hook_rig.h"
#include "tests/unit/orchestrator/apiserver/words.h"

#define CRDS "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
#define NEW "/apis/example.com/v1/namespaces/default/lamps"
#define OLD "/apis/example.com/v1beta1/namespaces/default/lamps"
#define REVIEW(response) "{'apiVersion':'apiextensions.k8s.io/v1','kind':'ConversionReview','response':" response "}"
#define SUBS "'subresources':{'status':{},'scale':{'specReplicasPath':'.spec.n','statusReplicasPath':'.status.n'}}"
#define SERVED(name, storage, field)                                                                                            \
	"{'name':'" name "','served':true,'storage':" storage "," SUBS ",'schema':{'openAPIV3Schema':{'type':'object','properties':{" \
	"'spec':{'type':'object','properties':{" field ",'n':{'type':'integer'},'place':{'type':'string','default':'hall'}}}," \
	"'status':{'type':'object','properties':{'n':{'type':'integer'},'lit':{'type':'boolean'}}}}}}}"
#define POWER "'power':{'type':'string','pattern':'^[0-9]+W$'}"
#define WATTS "'watts':{'type':'integer','minimum':1}"

#define BETA_STORED SERVED("v1", "false", POWER) "," SERVED("v1beta1", "true", WATTS)
#define V1_STORED SERVED("v1", "true", POWER) "," SERVED("v1beta1", "false", WATTS)

extern unsigned lamp_rig_calls, lamp_rig_objects;
extern const char *lamp_rig_broken; /* what the webhook says instead of an answer */
extern bool lamp_rig_silent;        /* it says nothing */
extern int lamp_rig_is_silent, lamp_rig_was_canceled;
/* The AdmissionReview's request; gives its response but for the uid. */
extern struct json *(*lamp_rig_other)(const struct json *request);

/* Starts the rig, and makes the definition with v1beta1 stored. */
int lamp_rig_start(void **state);
int lamp_rig_stop(void **state);

const char *definition(const char *versions);
const char *lamp(const char *version, const char *name, const char *spec);
/* As it lies in the store. */
struct json *stored(const char *name);

#endif
