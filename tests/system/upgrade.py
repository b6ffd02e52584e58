#!/usr/bin/env python3
"""A connection that lives long, through a proxy. Usage:

    upgrade.py serve ADDRESS PORT FILE        answers /ws with a WebSocket handshake and echoes lines; /slow: a line, and one when there is such
                                              a file; anything else: the headers of the request
    upgrade.py talk ADDRESS PORT HOST         says "hello" and a line of standard input at a time over such a connection; prints what comes back
"""
import base64
import hashlib
import http.server
import os
import socket
import sys
import time

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):  # pylint: disable=invalid-name
        if self.path == "/ws":
            key = self.headers["Sec-WebSocket-Key"] + GUID
            self.send_response(101)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
            self.end_headers()
            for line in self.rfile:
                self.wfile.write(b"echo " + line)
                self.wfile.flush()
            self.close_connection = True
            return
        body = str(self.headers).encode()
        self.send_response(200)
        if self.path == "/slow":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for word in (b"first\n", b"last\n"):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(word), word))
                self.wfile.flush()
                while not os.path.exists(sys.argv[4]):
                    time.sleep(0.1)
            self.wfile.write(b"0\r\n\r\n")
            return
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle(self):
        try:
            super().handle()
        except ConnectionError:
            pass

    def log_message(self, *args):  # pylint: disable=arguments-differ
        pass


def talk(address, port, host):
    s = socket.create_connection((address, int(port)), timeout=60)
    f = s.makefile("rwb")
    f.write(f"GET /ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode())
    f.flush()
    print(f.readline().decode().split()[1], flush=True)
    while f.readline().strip():
        pass
    def say(line):
        f.write(line.encode())
        f.flush()
        print(f.readline().decode().strip(), flush=True)

    say("hello\n")
    for line in sys.stdin:
        say(line)


if sys.argv[1] == "serve":
    http.server.ThreadingHTTPServer((sys.argv[2], int(sys.argv[3])), Handler).serve_forever()
else:
    talk(*sys.argv[2:])
