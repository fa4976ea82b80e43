"""A pcap file with TCP connections and UDP datagrams, without checksums (zeek -C). The same calls give the same bytes."""
import struct


class Pcap:
    def __init__(self, path):
        self.f = open(path, "wb")
        self.f.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        self.t = 1700000000.0
        self.n = 0

    def packet(self, src, dst, sp, dp, seq, ack, flags, data=b""):
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40 + len(data), 1, 0, 64, 6, 0, src, dst)
        tcp = struct.pack("!HHIIBBHHH", sp, dp, seq, ack, 0x50, flags, 64240, 0, 0)
        raw = b"\x02\0\0\0\0\1\x02\0\0\0\0\2\x08\0" + ip + tcp + data
        self.write(raw)

    def write(self, raw):
        self.f.write(struct.pack("<IIII", int(self.t), round(self.t % 1 * 1e6) % 1000000, len(raw), len(raw)) + raw)
        self.t += 0.01

    def datagram(self, src, dst, sp, dp, data):
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + len(data), 1, 0, 64, 17, 0, src, dst)
        udp = struct.pack("!HHHH", sp, dp, 8 + len(data), 0)
        raw = b"\x02\0\0\0\0\1\x02\0\0\0\0\2\x08\0" + ip + udp + data
        self.write(raw)

    def next(self, client=None):
        """One minute later: client, server and source port of the next connection, all by its number."""
        self.n += 1
        self.t = 1700000000.0 + 60 * self.n
        return client or bytes([10, 1, 0, self.n]), bytes([198, 51, 100, self.n]), 40000 + self.n

    def conn(self, port, talk, syn=True, client=None):
        """talk: list of ("c" or "s", bytes); each is one segment."""
        c, s, sp = self.next(client)
        a, b = 1000, 5000
        if syn:
            self.packet(c, s, sp, port, a, 0, 2)
            self.packet(s, c, port, sp, b, a + 1, 0x12)
            a, b = a + 1, b + 1
            self.packet(c, s, sp, port, a, b, 0x10)
        for who, data in talk:
            if who == "c":
                self.packet(c, s, sp, port, a, b, 0x18, data)
                a += len(data)
                self.packet(s, c, port, sp, b, a, 0x10)
            else:
                self.packet(s, c, port, sp, b, a, 0x18, data)
                b += len(data)
                self.packet(c, s, sp, port, a, b, 0x10)
        self.packet(c, s, sp, port, a, b, 0x11)
        self.packet(s, c, port, sp, b, a + 1, 0x11)
        self.packet(c, s, sp, port, a + 1, b + 1, 0x10)
