#!/usr/bin/python3
"""A client that writes in a loop while servers are killed, and the judge of what it saw.

    writer.py write --kubeconfig F [--server URL] --out LOG --prefix P [--timeout S] [--pause MS] [--max N]
        Creates ConfigMaps P-0, P-1, ... one after the other, each once, until SIGTERM. One line each is appended to LOG:
        number, start, end (seconds since the epoch) and the outcome: "ack", or why not (then it is unknown whether
        the write happened; the next one has another name, so no write is ever sent twice).
    writer.py gap --log LOG --at T
        Prints the milliseconds that no write was acknowledged around time T: from the last acknowledgement of a write before T
        to the first acknowledgement after it.
    writer.py check --kubeconfig F --log LOG --prefix P
        Fails unless every acknowledged write is there, with the value it was written with.
    writer.py median FILE
        The median of the numbers in FILE.

The loop keeps one connection and opens a new one after an error, as any client does. Only the standard library and
PyYAML are used.
"""

import argparse
import base64
import http.client
import json
import os
import signal
import socket
import ssl
import statistics
import sys
import tempfile
import time
import urllib.parse

import yaml

NAMESPACE = "default"


class Api:
    def __init__(self, kubeconfig, server=None, timeout=2.0):
        conf = yaml.safe_load(open(kubeconfig))
        context = next(c["context"] for c in conf["contexts"] if c["name"] == conf["current-context"])
        cluster = next(c["cluster"] for c in conf["clusters"] if c["name"] == context["cluster"])
        user = next(u["user"] for u in conf["users"] if u["name"] == context["user"])
        url = urllib.parse.urlparse(server or cluster["server"])
        self.host, self.port, self.timeout = url.hostname, url.port, timeout
        self.tls = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        # The same certificate is good at every server; a test may reach one by an address that is not in it.
        self.tls.check_hostname = False
        with tempfile.NamedTemporaryFile() as pem:
            pem.write(base64.b64decode(user["client-certificate-data"]) + b"\n")
            pem.write(base64.b64decode(user["client-key-data"]))
            pem.flush()
            self.tls.load_cert_chain(pem.name)
        self.conn = None

    def close(self):
        if self.conn is not None:
            self.conn.close()
            self.conn = None

    def call(self, method, path, body=None):
        """Status and decoded body; raises OSError or HTTPException when there is no answer in time."""
        try:
            if self.conn is None:
                self.conn = http.client.HTTPSConnection(self.host, self.port, timeout=self.timeout, context=self.tls)
                self.conn.connect()
                self.conn.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            data = None if body is None else json.dumps(body)
            self.conn.request(method, path, data, {"Content-Type": "application/json", "Accept": "application/json"})
            answer = self.conn.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else {}
        except (OSError, http.client.HTTPException, ValueError):
            self.close()
            raise


def value_of(prefix, n):
    return f"value of {prefix} {n}"


def cmd_write(args):
    running = True

    def stop(*_):
        nonlocal running
        running = False

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    api = Api(args.kubeconfig, args.server, args.timeout)
    path = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
    n = 0
    with open(args.out, "w", buffering=1) as log:
        while running and (args.max is None or n < args.max):
            body = {"apiVersion": "v1", "kind": "ConfigMap",
                    "metadata": {"name": f"{args.prefix}-{n}", "labels": {"writer": args.prefix}},
                    "data": {"value": value_of(args.prefix, n)}}
            start = time.time()
            try:
                status, answer = api.call("POST", path, body)
                outcome = "ack" if status == 201 else f"{status} {answer.get('message', '')}"
            except (OSError, http.client.HTTPException, ValueError) as e:
                outcome = f"{type(e).__name__} {e}"
            end = time.time()
            log.write(f"{n} {start:.6f} {end:.6f} {' '.join(outcome.split())}\n")
            n += 1
            # A refused connection comes back at once: do not spin on it.
            time.sleep(args.pause / 1000 if outcome == "ack" else max(args.pause, 2) / 1000)


def read_log(path):
    for line in open(path):
        n, start, end, outcome = line.rstrip("\n").split(" ", 3)
        yield int(n), float(start), float(end), outcome


def cmd_gap(args):
    acks = [end for _, _, end, outcome in read_log(args.log) if outcome == "ack"]
    before = [t for t in acks if t <= args.at]
    after = [t for t in acks if t > args.at]
    if not before or not after:
        sys.exit(f"{len(before)} writes were acknowledged before and {len(after)} after")
    # Acknowledgements may still trickle in just after T, and the gap begins then: the longest silence of those near T.
    near = [before[-1]] + [t for t in after if t < args.at + args.window]
    if len(near) < 2:
        near.append(after[0])
    print(f"{max(b - a for a, b in zip(near, near[1:])) * 1000:.0f}")


def cmd_check(args):
    api = Api(args.kubeconfig, args.server, 30)
    found, cont = {}, ""
    while True:
        query = urllib.parse.urlencode({"labelSelector": f"writer={args.prefix}", "limit": 500, "continue": cont})
        status, answer = api.call("GET", f"/api/v1/namespaces/{NAMESPACE}/configmaps?{query}")
        if status != 200:
            sys.exit(f"list: {status} {answer.get('message')}")
        for item in answer["items"]:
            found[item["metadata"]["name"]] = item["data"]["value"]
        cont = answer["metadata"].get("continue", "")
        if not cont:
            break
    acked = [n for n, _, _, outcome in read_log(args.log) if outcome == "ack"]
    unknown = [n for n, _, _, outcome in read_log(args.log) if outcome != "ack"]
    lost = [n for n in acked if f"{args.prefix}-{n}" not in found]
    wrong = [n for n in acked if found.get(f"{args.prefix}-{n}", value_of(args.prefix, n)) != value_of(args.prefix, n)]
    print(f"{len(acked)} acknowledged, {len(unknown)} without an answer, {len(found)} there")
    if lost or wrong:
        sys.exit(f"lost: {lost[:20]} wrong: {wrong[:20]}")
    if not acked:
        sys.exit("nothing was acknowledged")


def cmd_median(args):
    print(f"{statistics.median(float(x) for x in open(args.file).read().split()):.0f}")


def main():
    parser = argparse.ArgumentParser()
    sub = parser.add_subparsers(dest="command", required=True)
    p = sub.add_parser("write")
    p.add_argument("--kubeconfig", required=True)
    p.add_argument("--server")
    p.add_argument("--out", required=True)
    p.add_argument("--prefix", required=True)
    p.add_argument("--timeout", type=float, default=2.0)
    p.add_argument("--pause", type=float, default=1.0)
    p.add_argument("--max", type=int)
    p.set_defaults(run=cmd_write)
    p = sub.add_parser("gap")
    p.add_argument("--log", required=True)
    p.add_argument("--at", type=float, required=True)
    p.add_argument("--window", type=float, default=10.0)
    p.set_defaults(run=cmd_gap)
    p = sub.add_parser("check")
    p.add_argument("--kubeconfig", required=True)
    p.add_argument("--server")
    p.add_argument("--log", required=True)
    p.add_argument("--prefix", required=True)
    p.set_defaults(run=cmd_check)
    p = sub.add_parser("median")
    p.add_argument("file")
    p.set_defaults(run=cmd_median)
    args = parser.parse_args()
    os.umask(0o077)
    args.run(args)


if __name__ == "__main__":
    main()
