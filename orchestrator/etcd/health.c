/* grpc.health.v1: this server serves, as a whole; it has no services of its own health. */
#include "base/util.h"
#include "orchestrator/etcd/etcd-priv.h"
#include "proto/etcd_health.pb-c.h"
#include "proto/pb.h"
#include "proto/wire.h"

static void send_status(struct etcd_call *c, int status)
{
	struct buf frame;

	etcd__frame_init(&frame);
	wire_add_uint(&frame, 1, (uint64_t)status);
	etcd__send(c, &frame);
}

void etcd__health_check(struct etcd_call *c, struct str request)
{
	const Grpchealth__HealthCheckRequest *r = pb_unpack(c->arena, &grpchealth__health_check_request__descriptor, request);

	if (r == NULL) {
		etcd__fail_malformed(c);
	} else if (r->service != NULL && r->service[0] != '\0') {
		etcd__finish(c, GRPC_NOT_FOUND, "unknown service");
	} else {
		send_status(c, GRPCHEALTH__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING);
		etcd__finish(c, GRPC_OK, "");
	}
}

/* Serving, until the server stops: then it says so once more. */
static void watch_end(struct etcd_call *c, enum etcd_error error)
{
	if (error == ETCD_ERR_STOPPED)
		send_status(c, GRPCHEALTH__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING);
	etcd__fail(c, error);
}

void etcd__health_watch(struct etcd_call *c, struct str request)
{
	const Grpchealth__HealthCheckRequest *r = pb_unpack(c->arena, &grpchealth__health_check_request__descriptor, request);
	bool known = r != NULL && (r->service == NULL || r->service[0] == '\0');

	if (r == NULL) {
		etcd__fail_malformed(c);
		return;
	}
	send_status(c, known ? GRPCHEALTH__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
			     : GRPCHEALTH__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN);
	c->on_end = watch_end;
}
