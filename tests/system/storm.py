#!/usr/bin/python3
"""Many writers at once on several servers: who gets through?

    storm.py --kubeconfig F --server URL [--server URL ...] --namespace NS [--threads N] [--each N]

Every thread creates ConfigMaps, each under a name of its own, on one of the servers in turn. Prints how many were created, refused (403)
and answered otherwise: "created 20 refused 100 other 0". Only the standard library and PyYAML are used.
"""

import argparse
import threading

from writer import Api


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--kubeconfig", required=True)
    p.add_argument("--server", action="append", required=True)
    p.add_argument("--namespace", required=True)
    p.add_argument("--threads", type=int, default=4)
    p.add_argument("--each", type=int, default=10)
    args = p.parse_args()
    counts, lock = {"created": 0, "refused": 0, "other": 0}, threading.Lock()

    def run(server, thread):
        api = Api(args.kubeconfig, server, timeout=30.0)
        for i in range(args.each):
            name = "storm-%d-%d-%d" % (args.server.index(server), thread, i)
            status, body = api.call(
                "POST",
                "/api/v1/namespaces/%s/configmaps" % args.namespace,
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}},
            )
            key = {201: "created", 403: "refused"}.get(status, "other")
            with lock:
                counts[key] += 1
                if key == "other":
                    print(status, body)
        api.close()

    threads = [threading.Thread(target=run, args=(s, t)) for s in args.server for t in range(args.threads)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    print("created %d refused %d other %d" % (counts["created"], counts["refused"], counts["other"]))


main()
