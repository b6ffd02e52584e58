/*
 * WebSocket clients in front of SPDY kubelets: container runtimes of today do not know the newest WebSocket protocols.
 *
 *	v5.channel.k8s.io                 exec, attach: the channels of the messages become SPDY's streams; its closing of stdin
 *	                                  (channel 255) becomes the end of that stream
 *	SPDY/3.1+portforward.k8s.io       port-forward: the messages carry the bytes of a SPDY connection, which are passed on
 *
 * Other WebSocket protocols are passed through as they are: the runtime speaks them itself.
 */
#ifndef ORCHESTRATOR_APISERVER_WS_BRIDGE_H
#define ORCHESTRATOR_APISERVER_WS_BRIDGE_H

#include "io/http.h"
#include "orchestrator/apiserver/request.h"

struct stream;

enum ws_bridge { WS_BRIDGE_NONE, WS_BRIDGE_CHANNELS, WS_BRIDGE_TUNNEL };

/* What the request's protocols ask for. */
enum ws_bridge ws_bridge_wanted(const struct api_request *);
/* The headers with which the kubelet is asked for SPDY. */
#define WS_BRIDGE_N_HEADERS 3
void ws_bridge_headers(enum ws_bridge, struct http_header out[WS_BRIDGE_N_HEADERS]);
/*
 * Upgrade the client and join it with the kubelet's stream, which is owned from here on, also on an error. The request's
 * answer is over on success.
 */
int ws_bridge_start(struct api_request *, enum ws_bridge, struct stream *kubelet, struct err *);

#endif
