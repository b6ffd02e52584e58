#!/usr/bin/python3
"""A client that asks as hard as it can, or calmly: how is it answered?

    flood.py --server URL --token FILE --namespace NS [--connections N] [--seconds S] [--pause MS] [--fill N --size BYTES] [--calm]

Every connection sends one request after the other until the time is over. Loud: mostly lists of all ConfigMaps, some creates. Calm
(--calm): creates one ConfigMap and reads it. With --fill so many ConfigMaps of that size are made instead. Prints how many
were answered with success, told to come back (429), and answered otherwise or not at all: "ok 20 busy 100 other 0". Only the standard
library is used.
"""

import argparse
import http.client
import json
import os
import socket
import ssl
import threading
import time
import urllib.parse


class Client:
    def __init__(self, args, number):
        self.args, self.number, self.n, self.why = args, number, 0, ""
        self.token = open(args.token).read().strip()
        self.url = urllib.parse.urlparse(args.server)
        self.tls = ssl._create_unverified_context()
        self.conn = None

    def call(self, method, path, body=None):
        """The status; 0: no answer. The answer's bytes are read and thrown away."""
        try:
            if self.conn is None:
                self.conn = http.client.HTTPSConnection(self.url.hostname, self.url.port, timeout=60, context=self.tls)
                self.conn.connect()
                self.conn.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            headers = {"Authorization": "Bearer " + self.token, "Content-Type": "application/json"}
            self.conn.request(method, path, None if body is None else json.dumps(body), headers)
            answer = self.conn.getresponse()
            first = answer.read(1 << 20)
            while answer.read(1 << 20):
                pass
            if answer.status >= 300 and answer.status != 429:
                self.why = first[:300].decode(errors="replace")
            return answer.status
        except (OSError, http.client.HTTPException) as e:
            self.why = str(e)
            self.conn = None
            return 0

    def create(self, name, size=1):
        path = "/api/v1/namespaces/%s/configmaps" % self.args.namespace
        return self.call("POST", path, {"metadata": {"name": name}, "data": {"k": "x" * size}})

    def loud(self):
        self.n += 1
        if self.n % 5 == 0:
            return [self.create("loud-%d-%d-%d" % (os.getpid(), self.number, self.n))]
        return [self.call("GET", "/api/v1/namespaces/%s/configmaps" % self.args.namespace)]

    def calm(self):
        self.n += 1
        name = "calm-%d-%d-%d" % (os.getpid(), self.number, self.n)
        return [self.create(name), self.call("GET", "/api/v1/namespaces/%s/configmaps/%s" % (self.args.namespace, name))]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--server", required=True)
    p.add_argument("--token", required=True)
    p.add_argument("--namespace", required=True)
    p.add_argument("--connections", type=int, default=1)
    p.add_argument("--seconds", type=float, default=10)
    p.add_argument("--pause", type=float, default=0)
    p.add_argument("--fill", type=int, default=0)
    p.add_argument("--size", type=int, default=1)
    p.add_argument("--calm", action="store_true")
    args = p.parse_args()
    counts, lock = {"ok": 0, "busy": 0, "other": 0}, threading.Lock()
    end = time.monotonic() + args.seconds

    def count(client, statuses):
        with lock:
            for status in statuses:
                key = "ok" if 200 <= status < 300 else "busy" if status == 429 else "other"
                counts[key] += 1
                if key == "other" and counts[key] < 5:
                    print("answered %d: %s" % (status, client.why))

    def run(number):
        client = Client(args, number)
        if args.fill:
            for i in range(number, args.fill, args.connections):
                count(client, [client.create("fill-%d" % i, args.size)])
            return
        while time.monotonic() < end:
            count(client, client.calm() if args.calm else client.loud())
            time.sleep(args.pause / 1000)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(args.connections)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    print("ok %d busy %d other %d" % (counts["ok"], counts["busy"], counts["other"]))


main()
