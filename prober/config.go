package prober

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	minecanary "github.com/minecanary/minecanary"
)

// The bounds of what is said and heard; they can't be configured away (design, law 3).
const (
	// MaxRead is how many bytes are read from one connection, those of TLS included. The certificate chain is within.
	MaxRead = 64 << 10
	// MaxSent is how many bytes are sent on one connection, those of TLS included.
	MaxSent = 16 << 10
	// MaxConnections is how many connections one endpoint may see from us in an hour, whoever asks.
	MaxConnections = 12
	// MaxParallel is how many connections to one endpoint are open at once in a probe.
	MaxParallel = 2
	// MaxConnectionTime and MaxEndpointTime end a connection and a probe, whatever goes on.
	MaxConnectionTime = 30 * time.Second
	MaxEndpointTime   = 45 * time.Second
	// MaxTracked bounds each table of budgets; a full one refuses newcomers until a place is free.
	MaxTracked = 1 << 16
)

// Config says what the prober may do and how patient it is. Start from DefaultConfig.
type Config struct {
	// Allow lifts the address rule for these networks, and nothing else: the port list and all budgets still hold.
	Allow []netip.Prefix
	// Deny is never asked, whatever Allow says.
	Deny []netip.Prefix
	// Own is not asked unless Allow says so: the networks that are watched, the addresses of this machine.
	Own []netip.Prefix
	// Refuse tells why an endpoint may not be asked now, in a few words, and "" if it may: those who asked to be left
	// alone, those that are on hold. It is asked before each probe and each connection, by several goroutines, whatever
	// Allow says. nil refuses nothing.
	Refuse func(minecanary.Endpoint) string
	// DenyPorts is never asked.
	DenyPorts []uint16
	// Source is the address that connections come from: at most one of each family, as they stand on an interface of
	// this machine. Once one is named, endpoints of the other family are not asked. Empty: the system chooses.
	Source []netip.Addr
	// Proxy is the SOCKS5 proxy that all connections go through; Source is then for the connection to it.
	Proxy SOCKS5
	// Agent is the program's name that pools get to see. "" means the name of a miner of each dialect (cpuminer/1.0.4,
	// XMRig/6.21.0, MagicBean/1.0.0): some pools serve only agents they know, and an own name tells the pool's
	// operator who asks. At most 128 bytes of printable ASCII.
	Agent string
	// JARM has the TLS fingerprint of confirmed pools and nodes taken: ten connections more, of those that the endpoint may
	// see in an hour, each at most JARMTime long.
	JARM bool

	// Expiry is how long confirmed and not-pool hold.
	Expiry time.Duration
	// BackoffFirst and BackoffMax say when an endpoint whose answer was inconclusive may be asked again on its own:
	// after the first, doubled each time up to the maximum.
	BackoffFirst, BackoffMax time.Duration

	// ClientPerHour and NetworkPerHour are how many probes an hour one client may cause, and one /24 (IPv6: /48) may see.
	ClientPerHour, NetworkPerHour int
	// AS gives the number of the autonomous system of an address, 0 if it is unknown; several goroutines call it. nil
	// knows none. ASPerHour is how many probes one may see.
	AS        func(netip.Addr) uint32
	ASPerHour int
	// GlobalRate (probes a second) and GlobalBurst bound all automatic probes because of clients together.
	GlobalRate  float64
	GlobalBurst int
	// CatalogueRate (probes a second) and CatalogueBurst bound all probes for the catalogue together. Its networks and
	// autonomous systems have NetworkPerHour and ASPerHour once more.
	CatalogueRate  float64
	CatalogueBurst int
	// ConnectionsPerHour is how many connections one endpoint may see in an hour, at most MaxConnections.
	ConnectionsPerHour int
	// Purse keeps these budgets; nil for the memory of this process.
	Purse Purse

	// Connect and Handshake bound the TCP and the TLS handshake.
	Connect, Handshake time.Duration
	// Listen is how long a server may speak first.
	Listen time.Duration
	// Timeout is how long we wait for the answer to a question.
	Timeout time.Duration
	// Quiet is how long a connection has to be without a message until a second one may be opened beside it.
	Quiet time.Duration
	// Settle is how long we listen for more after an answer that is no proof.
	Settle time.Duration
	// ConnectionTime and EndpointTime bound a connection and a probe, at most MaxConnectionTime and MaxEndpointTime.
	ConnectionTime, EndpointTime time.Duration
}

// DefaultConfig gives the defaults of docs and design.
func DefaultConfig() Config {
	return Config{
		DenyPorts:          DefaultDenyPorts(),
		Expiry:             24 * time.Hour,
		BackoffFirst:       time.Hour,
		BackoffMax:         24 * time.Hour,
		ClientPerHour:      5,
		NetworkPerHour:     8,
		ASPerHour:          64,
		GlobalRate:         1,
		GlobalBurst:        10,
		CatalogueRate:      2,
		CatalogueBurst:     10,
		ConnectionsPerHour: MaxConnections,
		Connect:            5 * time.Second,
		Handshake:          5 * time.Second,
		Listen:             1500 * time.Millisecond,
		Timeout:            12 * time.Second,
		Quiet:              2 * time.Second,
		Settle:             2 * time.Second,
		ConnectionTime:     MaxConnectionTime,
		EndpointTime:       MaxEndpointTime,
	}
}

// DefaultDenyPorts gives the ports of services that break when strangers talk to them (industrial controllers, building
// automation, printers, management boards, telephones) or whose owners take it for an attack (login, mail, files,
// databases). No pool is known to use one.
func DefaultDenyPorts() []uint16 {
	return []uint16{
		7, 9, 13, 17, 19, // echo, discard, daytime, qotd, chargen
		20, 21, 22, 23, 25, 53, 69, 79, 88, // FTP, SSH, Telnet, SMTP, DNS, TFTP, finger, Kerberos
		102,                     // ISO-TSAP: Siemens S7
		110, 111, 113, 119, 123, // POP, portmapper, ident, NNTP, NTP
		135, 137, 138, 139, 143, 161, 162, 179, // Windows RPC, NetBIOS, IMAP, SNMP, BGP
		389, 427, 445, 464, 465, // LDAP, SLP, SMB, kpasswd, SMTP
		502,                     // Modbus
		512, 513, 514, 515, 548, // rexec, rlogin, rsh, printers, AFP
		554, 587, 593, 623, 631, 636, 664, // RTSP cameras, mail, RPC over HTTP, IPMI, printers, LDAP, IPMI
		789,                // Red Lion Crimson
		853, 873, 902, 993, // DNS over TLS, rsync, VMware, IMAP
		995, 1089, 1090, 1091, 1099, // POP, Foundation Fieldbus, RMI
		1433, 1434, 1521, 1911, 1962, // SQL Server, Oracle, Niagara Fox, PCWorx
		2049, 2222, 2375, 2376, 2404, // NFS, EtherNet/IP, Docker, IEC 60870-5-104
		3268, 3269, 3306, 3389, // LDAP, MySQL, RDP
		4840, 4911, 5060, 5061, 5094, // OPC UA, Niagara Fox, SIP, HART-IP
		5432, 5353, 5900, 5901, 5985, 5986, // PostgreSQL, mDNS, VNC, WinRM
		6379, 7547, 8291, // Redis, TR-069, MikroTik
		9100, 9101, 9102, 9103, 9104, 9105, 9106, 9107, // printers print what they are sent
		11211, 18245, 18246, 20000, 20547, // memcached, GE SRTP, DNP3, ProConOS
		27017, 34962, 34963, 34964, 34980, // MongoDB, PROFINET, EtherCAT
		37777, 44818, 47808, // Dahua cameras, EtherNet/IP, BACnet
	}
}

// maxAgent is the longest Agent in bytes.
const maxAgent = 128

// Validate tells everything that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	for _, d := range []struct {
		name  string
		value time.Duration
		most  time.Duration
	}{
		{"expiry", c.Expiry, 30 * 24 * time.Hour},
		{"first back-off", c.BackoffFirst, 24 * time.Hour},
		{"longest back-off", c.BackoffMax, 30 * 24 * time.Hour},
		{"connect timeout", c.Connect, MaxConnectionTime},
		{"handshake timeout", c.Handshake, MaxConnectionTime},
		{"time to listen", c.Listen, MaxConnectionTime},
		{"timeout", c.Timeout, MaxConnectionTime},
		{"quiet time", c.Quiet, MaxConnectionTime},
		{"settle time", c.Settle, MaxConnectionTime},
		{"connection time", c.ConnectionTime, MaxConnectionTime},
		{"endpoint time", c.EndpointTime, MaxEndpointTime},
	} {
		if d.value <= 0 || d.value > d.most {
			errs = append(errs, fmt.Errorf("%s must be above 0 and at most %v, is %v", d.name, d.most, d.value))
		}
	}
	for _, n := range []struct {
		name        string
		value, most int
	}{
		{"probes per client and hour", c.ClientPerHour, 10000},
		{"probes per network and hour", c.NetworkPerHour, 10000},
		{"probes per autonomous system and hour", c.ASPerHour, 10000},
		{"global burst", c.GlobalBurst, 10000},
		{"catalogue burst", c.CatalogueBurst, 10000},
		{"connections per endpoint and hour", c.ConnectionsPerHour, MaxConnections},
	} {
		if n.value < 1 || n.value > n.most {
			errs = append(errs, fmt.Errorf("%s must be from 1 to %d, is %d", n.name, n.most, n.value))
		}
	}
	for _, r := range []struct {
		name  string
		value float64
	}{{"global rate", c.GlobalRate}, {"catalogue rate", c.CatalogueRate}} {
		if !(r.value > 0 && r.value <= 1000) {
			errs = append(errs, fmt.Errorf("%s must be above 0 and at most 1000 a second, is %v", r.name, r.value))
		}
	}
	if c.BackoffMax < c.BackoffFirst {
		errs = append(errs, fmt.Errorf("longest back-off %v is shorter than the first, %v", c.BackoffMax, c.BackoffFirst))
	}
	if len(c.Agent) > maxAgent || slices.ContainsFunc([]byte(c.Agent), func(b byte) bool { return b < 0x20 || b > 0x7e }) {
		errs = append(errs, fmt.Errorf("agent must be at most %d bytes of printable ASCII", maxAgent))
	}
	errs = append(errs, c.Proxy.check())
	families := map[bool]int{}
	for _, a := range c.Source {
		families[a.Is4()]++
		if !a.IsValid() || a.Is4In6() || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() || families[a.Is4()] > 1 {
			errs = append(errs, fmt.Errorf("source %v must be one IPv4 or IPv6 address of this machine", a))
		}
	}
	if c.Proxy.Addr.IsValid() && len(c.Source) > 0 && families[c.Proxy.Addr.Addr().Is4()] == 0 {
		errs = append(errs, fmt.Errorf("no source has the family of the SOCKS5 proxy %v", c.Proxy.Addr))
	}
	for _, p := range slices.Concat(c.Allow, c.Deny, c.Own) {
		if !p.IsValid() || p.Addr().Is4In6() {
			errs = append(errs, fmt.Errorf("network %v is not an IPv4 or IPv6 prefix", p))
		}
	}
	return errors.Join(errs...)
}
