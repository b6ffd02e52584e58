#!/usr/bin/python3
"""Watch a pod until its phase is Running; print the milliseconds since a moment: pod_runs.py KUBECONFIG NAMESPACE POD SINCE-EPOCH-SECONDS."""

import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))
import writer  # noqa: E402

kubeconfig, namespace, pod, since = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])
api = writer.Api(kubeconfig, timeout=60)
path = f"/api/v1/namespaces/{namespace}/pods?watch=1&timeoutSeconds=60&fieldSelector=metadata.name%3D{pod}"
conn = writer.http.client.HTTPSConnection(api.host, api.port, timeout=60, context=api.tls)
conn.request("GET", path)
for line in conn.getresponse():
    status = json.loads(line)["object"].get("status", {})
    if status.get("phase") == "Running":
        print(f"{(time.time() - since) * 1000:.0f}")
        sys.exit(0)
sys.exit(f"pod {namespace}/{pod} did not run within 60 s")
