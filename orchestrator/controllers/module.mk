# The controllers and their runner; they run on the leader.
noinst_LIBRARIES += libcontrollers.a
libcontrollers_a_SOURCES = \
	orchestrator/controllers/autoscaler.c orchestrator/controllers/autoscaler.h \
	orchestrator/controllers/backends.c orchestrator/controllers/backends.h \
	orchestrator/controllers/controller.h \
	orchestrator/controllers/claim_protection.c \
	orchestrator/controllers/clusterrole.c \
	orchestrator/controllers/admission_policy.c \
	orchestrator/controllers/crd.c \
	orchestrator/controllers/customs.c orchestrator/controllers/customs.h \
	orchestrator/controllers/cronjob.c \
	orchestrator/controllers/csr.c \
	orchestrator/controllers/daemonset.c \
	orchestrator/controllers/deployment-priv.h \
	orchestrator/controllers/deployment.c \
	orchestrator/controllers/deployment_status.c \
	orchestrator/controllers/disruption.c orchestrator/controllers/disruption.h \
	orchestrator/controllers/endpoints.c \
	orchestrator/controllers/endpointslice.c \
	orchestrator/controllers/garbage.c \
	orchestrator/controllers/hpa_count.c orchestrator/controllers/hpa_count.h \
	orchestrator/controllers/hpa_limits.c orchestrator/controllers/hpa_limits.h \
	orchestrator/controllers/hpa_metrics.c orchestrator/controllers/hpa_metrics.h \
	orchestrator/controllers/hpa_propose.c orchestrator/controllers/hpa_propose.h \
	orchestrator/controllers/hpa_round.c orchestrator/controllers/hpa_round.h \
	orchestrator/controllers/ingress_status.c \
	orchestrator/controllers/job-priv.h \
	orchestrator/controllers/job.c \
	orchestrator/controllers/job_index.c orchestrator/controllers/job_index.h \
	orchestrator/controllers/job_policy.c \
	orchestrator/controllers/job_status.c \
	orchestrator/controllers/namespace.c \
	orchestrator/controllers/node_match.c orchestrator/controllers/node_match.h \
	orchestrator/controllers/revisions.c orchestrator/controllers/revisions.h \
	orchestrator/controllers/node_ipam.c \
	orchestrator/controllers/node_lifecycle.c \
	orchestrator/controllers/plan-priv.h \
	orchestrator/controllers/plan.c \
	orchestrator/controllers/podgc.c \
	orchestrator/controllers/pods.c orchestrator/controllers/pods.h \
	orchestrator/controllers/recorder.c orchestrator/controllers/recorder.h \
	orchestrator/controllers/remotes.c orchestrator/controllers/remotes.h \
	orchestrator/controllers/replicaset.c \
	orchestrator/controllers/resourcequota.c \
	orchestrator/controllers/runner.c orchestrator/controllers/runner-priv.h \
	orchestrator/controllers/runner_act.c orchestrator/controllers/runner_work.c \
	orchestrator/controllers/serviceaccount.c \
	orchestrator/controllers/statefulset-priv.h \
	orchestrator/controllers/statefulset.c \
	orchestrator/controllers/statefulset_status.c \
	orchestrator/controllers/taint_eviction.c \
	orchestrator/controllers/tokens.c \
	orchestrator/controllers/views.c \
	orchestrator/controllers/volume_binder.c \
	orchestrator/controllers/volume_ephemeral.c \
	orchestrator/controllers/volume_local.c \
	orchestrator/controllers/volume_match.c orchestrator/controllers/volume_match.h
libcontrollers_a_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS)
