/*
 * What is not a resource: discovery, version, health, metrics, OpenAPI, token keys. One table row a path (paths.c).
 */
#ifndef ORCHESTRATOR_APISERVER_PATHS_H
#define ORCHESTRATOR_APISERVER_PATHS_H

#include "orchestrator/apiserver/apiserver-priv.h"

/* The version that clients are told. */
#define API_GIT_VERSION "v1.36.0+kontiki"
#define API_MAJOR "1"
#define API_MINOR "36"

/* `rest` is the path behind the row's own. */
enum step_result api_path_api(struct api_request *, struct str rest);     /* discovery.c */
/* Adds the path of each group and version. */
void api_discovery_paths(struct api_request *, struct json *paths);
enum step_result api_path_apis(struct api_request *, struct str rest);
enum step_result api_path_openapi_v2(struct api_request *, struct str rest); /* openapi.c */
enum step_result api_path_openapi_v3(struct api_request *, struct str rest);
/* 404 as upstream words it. */
enum step_result api_path_unknown(struct api_request *);

#endif
