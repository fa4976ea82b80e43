package slicer

// wellKnownEnd is the first port after IANA's well-known ports (RFC 6335 section 6).
const wellKnownEnd = 1024

// serverPorts are ports from 1024 that servers are known for. The first block is what mining pools commonly offer;
// the second keeps common other services from standing as clients of their clients.
var serverPorts = portSet(
	1314, 3032, 3256, 3333, 3334, 3335, 3336, 3344, 3355, 3357, 3360, 4444, 4445, 5555, 5556, 6666, 7777, 7778, 8008,
	8888, 9000, 9999, 10128, 10300, 13333, 14433, 14444, 15555, 20535, 20555, 45700,

	1194, 1433, 1521, 1883, 1935, 2049, 2404, 3128, 3306, 3389, 4443, 5060, 5061, 5222, 5223, 5228, 5269, 5432, 5671,
	5672, 5938, 6379, 6667, 6697, 8000, 8080, 8081, 8086, 8333, 8443, 8545, 8883, 9042, 9050, 9090, 9092, 9100, 9200,
	11211, 20000, 25565, 27017, 44818, 47808, 50001, 50002,
)

// portSet is a bit set of all ports.
func portSet(ports ...uint16) *[1024]uint64 {
	set := new([1024]uint64)
	for _, p := range ports {
		set[p>>6] |= 1 << (p & 63)
	}
	return set
}

// serverPort tells whether a port is one that servers are known for.
func serverPort(p uint16) bool {
	return p < wellKnownEnd || serverPorts[p>>6]&(1<<(p&63)) != 0
}
