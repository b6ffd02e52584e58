#!/usr/bin/python3
"""An issuer of tokens and a webhook that says what somebody may, for tests.

identity.py PORT CERT KEY JWKS: serves the discovery document of https://127.0.0.1:PORT, the keys in the file JWKS, and /access, which denies
everything in the namespace "vault" and has no opinion about the rest. Prints "ready" when it listens.
"""
import http.server
import json
import ssl
import sys


class Identity(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, doc):
        body = json.dumps(doc).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/keys":
            with open(sys.argv[4]) as f:
                self.answer(json.load(f))
        else:
            url = "https://127.0.0.1:" + sys.argv[1]
            self.answer({"issuer": url, "jwks_uri": url + "/keys"})

    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["content-length"])))
        namespace = review["spec"].get("resourceAttributes", {}).get("namespace")
        denied = namespace == "vault"
        review["status"] = {"allowed": False, "denied": denied, "reason": "the vault is closed" if denied else "who knows"}
        self.answer(review)

    def log_message(self, *args):
        pass


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Identity)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2], sys.argv[3])
    server.socket = context.wrap_socket(server.socket, server_side=True)
    print("ready", flush=True)
    server.serve_forever()


main()
