package minecanary

import "net/netip"

// reservedRange is one entry of the IANA special-purpose address registries.
type reservedRange struct {
	prefix netip.Prefix
	reason string
}

// reserved4 and reserved6 follow the IANA IPv4 and IPv6 Special-Purpose Address Registries and the multicast and 240/4
// assignments; the first match wins, so narrower ranges come first. The registries call a few of them globally
// reachable (anycast of AS112, AMT, PCP, TURN): no mining pool lives there, so they are refused like the others.
var (
	reserved4 = []reservedRange{
		{netip.MustParsePrefix("0.0.0.0/32"), "unspecified"},
		{netip.MustParsePrefix("0.0.0.0/8"), "this network (RFC 791)"},
		{netip.MustParsePrefix("10.0.0.0/8"), "private (RFC 1918)"},
		{netip.MustParsePrefix("100.64.0.0/10"), "CGNAT (RFC 6598)"},
		{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
		{netip.MustParsePrefix("169.254.0.0/16"), "link-local"},
		{netip.MustParsePrefix("172.16.0.0/12"), "private (RFC 1918)"},
		{netip.MustParsePrefix("192.0.0.0/24"), "protocol assignments (RFC 6890)"},
		{netip.MustParsePrefix("192.0.2.0/24"), "documentation (RFC 5737)"},
		{netip.MustParsePrefix("192.31.196.0/24"), "AS112 (RFC 7535)"},
		{netip.MustParsePrefix("192.52.193.0/24"), "AMT (RFC 7450)"},
		{netip.MustParsePrefix("192.88.99.0/24"), "6to4 relay (RFC 7526)"},
		{netip.MustParsePrefix("192.168.0.0/16"), "private (RFC 1918)"},
		{netip.MustParsePrefix("192.175.48.0/24"), "AS112 (RFC 7534)"},
		{netip.MustParsePrefix("198.18.0.0/15"), "benchmarking (RFC 2544)"},
		{netip.MustParsePrefix("198.51.100.0/24"), "documentation (RFC 5737)"},
		{netip.MustParsePrefix("203.0.113.0/24"), "documentation (RFC 5737)"},
		{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
		{netip.MustParsePrefix("255.255.255.255/32"), "broadcast"},
		{netip.MustParsePrefix("240.0.0.0/4"), "reserved (RFC 1112)"},
	}
	reserved6 = []reservedRange{
		{netip.MustParsePrefix("::/128"), "unspecified"},
		{netip.MustParsePrefix("::1/128"), "loopback"},
		{netip.MustParsePrefix("::/96"), "IPv4-compatible (RFC 4291)"},
		{netip.MustParsePrefix("::ffff:0:0:0/96"), "IPv4-translated (RFC 2765)"},
		{netip.MustParsePrefix("64:ff9b::/96"), "NAT64 (RFC 6052)"},
		{netip.MustParsePrefix("64:ff9b:1::/48"), "NAT64 (RFC 8215)"},
		{netip.MustParsePrefix("100::/64"), "discard (RFC 6666)"},
		{netip.MustParsePrefix("100:0:0:1::/64"), "dummy prefix (RFC 9780)"},
		{netip.MustParsePrefix("2001::/32"), "Teredo (RFC 4380)"},
		{netip.MustParsePrefix("2001:2::/48"), "benchmarking (RFC 5180)"},
		{netip.MustParsePrefix("2001:10::/28"), "ORCHID (RFC 4843)"},
		{netip.MustParsePrefix("2001:20::/28"), "ORCHIDv2 (RFC 7343)"},
		{netip.MustParsePrefix("2001::/23"), "protocol assignments (RFC 2928)"},
		{netip.MustParsePrefix("2001:db8::/32"), "documentation (RFC 3849)"},
		{netip.MustParsePrefix("2002::/16"), "6to4 (RFC 3056)"},
		{netip.MustParsePrefix("2620:4f:8000::/48"), "AS112 (RFC 7534)"},
		{netip.MustParsePrefix("3fff::/20"), "documentation (RFC 9637)"},
		{netip.MustParsePrefix("5f00::/16"), "segment routing (RFC 9602)"},
		{netip.MustParsePrefix("fc00::/7"), "unique local (RFC 4193)"},
		{netip.MustParsePrefix("fe80::/10"), "link-local"},
		{netip.MustParsePrefix("fec0::/10"), "site-local (RFC 3879)"},
		{netip.MustParsePrefix("ff00::/8"), "multicast"},
	}
	globalUnicast6 = netip.MustParsePrefix("2000::/3")
)

// Reserved tells why an address is no public unicast address, in a few printable words; "" if it is one. It judges an
// IPv4-mapped address as the IPv4 address inside and ignores a zone. IPv6 forms that carry an IPv4 address to be
// reached by somebody else (NAT64, 6to4, Teredo, ISATAP) are refused as such, whatever they carry: behind them could
// be any address. The invalid Addr is "invalid".
func Reserved(addr netip.Addr) string {
	addr = CanonicalAddr(addr)
	if !addr.IsValid() {
		return "invalid"
	}
	ranges := reserved6
	if addr.Is4() {
		ranges = reserved4
	}
	for _, r := range ranges {
		if r.prefix.Contains(addr) {
			return r.reason
		}
	}
	if addr.Is4() {
		return ""
	}
	// RFC 5214 section 6.1: the interface identifier 00-00-5E-FE or 02-00-5E-FE, then the IPv4 address.
	if b := addr.As16(); b[8]&^0x02 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe {
		return "ISATAP (RFC 5214)"
	}
	if !globalUnicast6.Contains(addr) {
		return "reserved (RFC 4291)"
	}
	return ""
}
