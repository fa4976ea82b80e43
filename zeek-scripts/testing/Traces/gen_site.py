#!/usr/bin/env python3
"""Writes prober.pcap (miners, and a prober that talks like one), names.pcap (pools' names in DNS and TLS) and
workers.pcap (logins and what they call the machine). Usage: gen_site.py OUTDIR"""
import os
import struct
import sys

from pcapfile import Pcap

PROBER = bytes([192, 0, 2, 7])
RESOLVER = bytes([192, 0, 2, 53])
HEX = lambda n: ("0123456789abcdef" * (n // 16 + 1))[:n]
WALLET = "4" + "A1b2C3d4E5" * 9 + "abcd"
SUBSCRIBE = b'{"id":1,"method":"mining.subscribe","params":["%s"]}\n'
SUBSCRIBED = b'{"id":1,"result":[[["mining.notify","a"]],"08",4],"error":null}\n'
AUTHORIZE = b'{"id":2,"method":"mining.authorize","params":["%s","x"]}\n'
NOTIFY = ('{"id":null,"method":"mining.notify","params":["1","%s","%s","%s",["%s"],"20000000","1a","5f",true]}\n'
          % (HEX(64), HEX(100), HEX(100), HEX(64))).encode()


def prober(p):
    miner = [("c", SUBSCRIBE % b"cgminer/4.12.1"), ("s", SUBSCRIBED + NOTIFY)]
    # 1 the prober's, 2 a miner's
    p.conn(3333, miner, client=PROBER)
    p.conn(3333, miner)
    # the same picked up midstream, the pool first: 3 the prober's, 4 a miner's
    p.conn(3333, [("s", NOTIFY)], syn=False, client=PROBER)
    p.conn(3333, [("s", NOTIFY)], syn=False)


def query(p, name, client=None):
    """One DNS question for an A record, and its answer."""
    c, s, sp = p.next(client)
    labels = b"".join(bytes([len(x)]) + x for x in name.split(b".")) + b"\0"
    question = labels + struct.pack("!HH", 1, 1)
    p.datagram(c, RESOLVER, sp, 53, struct.pack("!HHHHHH", p.n, 0x0100, 1, 0, 0, 0) + question)
    p.datagram(RESOLVER, c, 53, sp, struct.pack("!HHHHHH", p.n, 0x8180, 1, 1, 0, 0) + question
               + struct.pack("!HHHIH4s", 0xC00C, 1, 1, 60, 4, s))


def hello(name):
    """A ClientHello of TLS 1.2 that has a server name and nothing else."""
    entry = struct.pack("!BH", 0, len(name)) + name
    names = struct.pack("!H", len(entry)) + entry
    extensions = struct.pack("!HH", 0, len(names)) + names
    body = (b"\3\3" + bytes(range(32)) + b"\0" + struct.pack("!HH", 2, 0xC02F) + b"\1\0"
            + struct.pack("!H", len(extensions)) + extensions)
    message = b"\1" + struct.pack("!I", len(body))[1:] + body
    return b"\x16\3\1" + struct.pack("!H", len(message)) + message


def names(p):
    # 1, 2 one domain, two names and ways to write it
    query(p, b"XMR.Pool.Example", client=bytes([10, 1, 0, 1]))
    query(p, b"xmr2.pOOL.example", client=bytes([10, 1, 0, 1]))
    # 3 the end of a label is no domain
    query(p, b"notpool.example")
    # 4 in TLS; 5 too long for a name
    p.conn(443, [("c", hello(b"eu.other.example"))])
    p.conn(443, [("c", hello(b"a." * 150 + b"pool.example"))])
    # 6, 7 the prober's
    query(p, b"xmr.pool.example", client=PROBER)
    p.conn(443, [("c", hello(b"xmr.pool.example"))], client=PROBER)


def workers(p):
    def login(account):
        p.conn(3333, [("c", SUBSCRIBE % b"ccminer/2.3.1"), ("s", SUBSCRIBED), ("c", AUTHORIZE % account), ("s", NOTIFY)])

    # 1 Ethereum's dialect, 2 Monero's
    p.conn(4444, [("c", b'{"id":1,"jsonrpc":"2.0","method":"eth_submitLogin","params":["0x%040d"],"worker":"rig1"}\n' % 1)])
    p.conn(3333, [("c", ('{"id":1,"method":"login","params":{"login":"%s","pass":"x","rigid":"rig-7","agent":"XMRig/6.21.0"}}\n'
                         % WALLET).encode())])
    # 3 behind a dot, 4 a mail address, 5 both
    login(b"bc1qexample.rig01")
    login(b"bob@example.com")
    login(b"1Example.rig2/bob@example.com")
    # 6 more than anybody needs
    p.conn(3333, [("c", SUBSCRIBE % (b"A" * 300))])


out = sys.argv[1] if len(sys.argv) > 1 else "."
prober(Pcap(os.path.join(out, "prober.pcap")))
names(Pcap(os.path.join(out, "names.pcap")))
workers(Pcap(os.path.join(out, "workers.pcap")))
