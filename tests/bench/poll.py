#!/usr/bin/python3
"""Poll a URL until it answers 200 and print the milliseconds since a moment: poll.py URL SINCE-EPOCH-SECONDS [LIMIT-SECONDS].

The certificate is not checked and no request is repeated within 2 ms. Connecting anew each time is part of what is measured."""

import http.client
import ssl
import sys
import time
import urllib.parse

url = urllib.parse.urlparse(sys.argv[1])
since = float(sys.argv[2])
limit = float(sys.argv[3]) if len(sys.argv) > 3 else 30
tls = ssl._create_unverified_context()
last = "no answer"
while time.time() < since + limit:
    try:
        conn = http.client.HTTPSConnection(url.hostname, url.port, timeout=2, context=tls)
        conn.request("GET", url.path)
        answer = conn.getresponse()
        text = answer.read()
        conn.close()
        if answer.status == 200:
            print(f"{(time.time() - since) * 1000:.0f}")
            sys.exit(0)
        last = f"{answer.status} {text[:200]!r}"
    except OSError as e:
        last = str(e)
    time.sleep(0.002)
sys.exit(f"{sys.argv[1]}: {last}")
