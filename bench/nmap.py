#!/usr/bin/env python3
"""Prints a Markdown table: what nmap -sV and minecanary probe say of the sparring pools, side by side.

usage: nmap.py BINARY [FIRST_PORT]
"""

import json
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree

binary, first = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "13000"

spar = subprocess.Popen([binary, "spar", "--json", "--port", first], stdout=subprocess.PIPE, text=True)
try:
    servers = []
    begin = time.monotonic()
    spar_list = subprocess.run([binary, "spar", "--list"], capture_output=True, text=True, check=True).stdout.split()
    while len(servers) < 2 * len(spar_list):
        servers.append(json.loads(spar.stdout.readline()))
    for s in servers:
        s["port"] = s["address"].rsplit(":", 1)[1]
    ports = ",".join(s["port"] for s in servers)

    begin = time.monotonic()
    scan = subprocess.run(
        ["nmap", "-sV", "-Pn", "-n", "-p", ports, "-oX", "-", "127.0.0.1"], capture_output=True, text=True, check=True)
    nmap_took = time.monotonic() - begin
    said = {}
    for port in ElementTree.fromstring(scan.stdout).iter("port"):
        service = port.find("service")
        if service is None:
            continue
        words = [service.get("tunnel", ""), service.get("name", ""), service.get("product", "")]
        guess = "?" if service.get("method") == "table" else ""
        said[port.get("portid")] = " ".join(w for w in words if w) + guess

    begin = time.monotonic()
    with tempfile.NamedTemporaryFile() as audit:
        probe = subprocess.run(
            [binary, "probe", "--json", "--audit", audit.name, "--allow-probe", "127.0.0.0/8"] + [s["address"] for s in servers],
            capture_output=True, text=True, check=True)
    probe_took = time.monotonic() - begin
    verdicts = [json.loads(line) for line in probe.stdout.splitlines()]

    print("| sparring pool | nmap -sV | minecanary probe |")
    print("| --- | --- | --- |")
    for s, v in zip(servers, verdicts):
        name = s["name"] + (" over TLS" if s["tls"] else "")
        found = " ".join(w for w in [v["verdict"], v["dialect"], v["coin"]] if w)
        print(f"| {name} | {said.get(s['port'], 'nothing')} | {found} |")
    print(f"\n{len(servers)} servers: nmap {nmap_took:.0f} s, minecanary probe {probe_took:.0f} s.")
finally:
    spar.terminate()
    spar.wait()
