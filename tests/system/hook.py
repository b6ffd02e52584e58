#!/usr/bin/python3
"""A webhook for tests: converts Lamps between v1beta1 (spec.watts) and v1 (spec.power), and denies config maps named "refused".

hook.py ADDRESS PORT CERT KEY; prints "ready" when it listens.
"""
import copy
import http.server
import json
import ssl
import sys


def convert(obj, to):
    out = copy.deepcopy(obj)
    out["apiVersion"] = to
    spec = out.setdefault("spec", {})
    if to.endswith("/v1") and "watts" in spec:
        spec["power"] = "%dW" % spec.pop("watts")
    elif to.endswith("/v1beta1") and "power" in spec:
        spec["watts"] = int(spec.pop("power").rstrip("W"))
    return out


class Hook(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["content-length"])))
        req = review.pop("request")
        answer = review["response"] = {"uid": req["uid"]}
        if review["kind"] == "ConversionReview":
            answer["result"] = {"status": "Success"}
            answer["convertedObjects"] = [convert(o, req["desiredAPIVersion"]) for o in req["objects"]]
        else:
            answer["allowed"] = req["name"] != "refused"
            answer["status"] = {"code": 403, "message": "not by this name"}
        body = json.dumps(review).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def main():
    address, port, cert, key = sys.argv[1:]
    server = http.server.ThreadingHTTPServer((address, int(port)), Hook)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    print("ready", flush=True)
    server.serve_forever()


main()
