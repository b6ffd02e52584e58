#!/usr/bin/env python3
"""A server of custom and external metrics, as one joins a cluster through APIService. Usage: metrics.py ADDRESS PORT CERT KEY FILE

FILE says what is measured now, a metric a line: "NAME VALUE". A custom metric of pods is VALUE for each pod whose name stands in the line
after it. Every path that was asked is printed.
"""
import http.server
import json
import ssl
import sys
import urllib.parse

address, port, cert, key, facts = sys.argv[1:]
CUSTOM, EXTERNAL = "custom.metrics.k8s.io/v1beta2", "external.metrics.k8s.io/v1beta1"


def measured():
    with open(facts, encoding="utf-8") as f:
        return {w[0]: w[1:] for w in (line.split() for line in f) if len(w) > 1}


def custom(metric, kind, name, value):
    return {"describedObject": {"kind": kind, "namespace": "default", "name": name}, "metric": {"name": metric},
            "timestamp": "2026-01-01T00:00:00Z", "value": value}


def answer(path):
    parts = urllib.parse.unquote(path).strip("/").split("/")
    group = "/".join(parts[1:3])
    if len(parts) == 3 and group in (CUSTOM, EXTERNAL):
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group, "resources": []}
    now = measured()
    if parts[-1] not in now:
        return None
    value, *names = now[parts[-1]]
    if group == EXTERNAL:
        items = [{"metricName": parts[-1], "metricLabels": {}, "timestamp": "2026-01-01T00:00:00Z", "value": value}]
        return {"kind": "ExternalMetricValueList", "apiVersion": group, "metadata": {}, "items": items}
    if parts[5:7] == ["pods", "*"]:
        items = [custom(parts[-1], "Pod", n, value) for n in names]
    else:
        items = [custom(parts[-1], parts[5], parts[6], value)]
    return {"kind": "MetricValueList", "apiVersion": group, "metadata": {}, "items": items}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):  # pylint: disable=invalid-name
        print(self.path, flush=True)
        doc = answer(self.path.split("?")[0])
        body = json.dumps(doc or {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404,
                                  "message": "not measured"}).encode()
        self.send_response(200 if doc else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):  # pylint: disable=arguments-differ
        pass


server = http.server.ThreadingHTTPServer((address, int(port)), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
