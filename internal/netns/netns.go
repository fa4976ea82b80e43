//go:build linux

// Package netns runs a test in a network namespace of its own, in which every address there is belongs to the loopback
// interface: whoever connects anywhere is answered, nothing leaves the machine, and every packet can be counted. It needs
// root or user namespaces, and ip of iproute2.
package netns

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// marker is the environment variable that names the test that runs inside.
const marker = "MINECANARY_TEST_NETNS"

// Source4 and Source6 are addresses of the loopback interface; connections made from them are told from their targets.
var (
	Source4 = netip.MustParseAddr("9.9.9.1")
	Source6 = netip.MustParseAddr("2620:fe::1")
)

// Inside runs the test that calls it once more, in a namespace of its own, and is true there. Outside it is false, after
// that run has ended; it fails the test if the run failed.
func Inside(t *testing.T) bool {
	t.Helper()
	if os.Getenv(marker) == t.Name() {
		for _, args := range []string{
			"link set lo up",
			"address add " + Source4.String() + "/32 dev lo",
			"-6 address add " + Source6.String() + "/128 dev lo nodad",
			"route add local 0.0.0.0/0 dev lo",
			"-6 route add local ::/0 dev lo",
		} {
			ip := exec.CommandContext(t.Context(), "ip", strings.Fields(args)...)
			ip.Stdin = strings.NewReader("")
			if out, err := ip.CombinedOutput(); err != nil {
				t.Fatalf("ip %s: %v: %s", args, err, out)
			}
		}
		return true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+regexp.QuoteMeta(t.Name())+"$", "-test.v", "-test.count=1")
	// The resolver of the C library would not be asked in the namespace alone.
	cmd.Env = append(os.Environ(), marker+"="+t.Name(), "GODEBUG=netdns=go")
	cmd.Stdin = strings.NewReader("")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	t.Logf("in a network namespace:\n%s", out)
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("in a network namespace: %v", err)
	}
	return false
}

// Packets counts the TCP and UDP packets that were sent, by protocol and destination.
type Packets struct {
	fd   int
	done chan struct{}
	once sync.Once

	mu   sync.Mutex
	sent map[Target]int
	last time.Time
}

// Target is where a packet went.
type Target struct {
	Protocol byte // of IANA: 6 is TCP, 17 is UDP
	netip.AddrPort
}

// Watch counts from now on.
func Watch(t *testing.T) *Packets {
	t.Helper()
	network := func(v uint16) int { return int(binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, v))) }
	fd, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, network(syscall.ETH_P_ALL))
	if err != nil {
		t.Fatalf("packet socket: %v", err)
	}
	const room = 64 << 20
	err = errors.Join(
		syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, room),
		syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &syscall.Timeval{Usec: 50_000}),
	)
	if err != nil {
		t.Fatalf("packet socket: %v", err)
	}
	p := &Packets{fd: fd, done: make(chan struct{}), sent: map[Target]int{}, last: time.Now()}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		p.read()
	}()
	t.Cleanup(func() {
		p.once.Do(func() { close(p.done) })
		<-stopped
		_ = syscall.Close(fd)
	})
	return p
}

func (p *Packets) read() {
	buf := make([]byte, 1<<16)
	for {
		select {
		case <-p.done:
			return
		default:
		}
		n, from, err := syscall.Recvfrom(p.fd, buf, 0)
		if err != nil {
			continue // the time is over, or a signal came
		}
		// What goes out on the loopback interface comes in again.
		if ll, ok := from.(*syscall.SockaddrLinklayer); !ok || ll.Pkttype != syscall.PACKET_OUTGOING {
			continue
		}
		if target, ok := destination(buf[:n]); ok {
			p.mu.Lock()
			p.sent[target]++
			p.last = time.Now()
			p.mu.Unlock()
		}
	}
}

// destination reads the header of an IP packet with TCP or UDP.
func destination(b []byte) (Target, bool) {
	var addr netip.Addr
	var protocol byte
	var rest []byte
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		addr, protocol = netip.AddrFrom4([4]byte(b[16:20])), b[9]
		rest = b[min(len(b), int(b[0]&15)*4):]
	case len(b) >= 40 && b[0]>>4 == 6:
		addr, protocol, rest = netip.AddrFrom16([16]byte(b[24:40])), b[6], b[40:]
	default:
		return Target{}, false
	}
	if protocol != syscall.IPPROTO_TCP && protocol != syscall.IPPROTO_UDP || len(rest) < 4 {
		return Target{}, false
	}
	return Target{protocol, netip.AddrPortFrom(addr, binary.BigEndian.Uint16(rest[2:]))}, true
}

// Sent gives the packets that were sent to destinations other than Source4 and Source6, once none has come for a while.
func (p *Packets) Sent() map[Target]int {
	for {
		p.mu.Lock()
		if time.Since(p.last) > 300*time.Millisecond {
			out := map[Target]int{}
			for target, n := range p.sent {
				if a := target.Addr(); a != Source4 && a != Source6 {
					out[target] = n
				}
			}
			p.mu.Unlock()
			return out
		}
		p.mu.Unlock()
		time.Sleep(50 * time.Millisecond)
	}
}

// Listen accepts every connection to a port of any address and closes it; accepted gives the addresses that were
// connected to.
func Listen(t *testing.T, port string) (accepted func() []netip.AddrPort) {
	t.Helper()
	l, err := net.Listen("tcp", ":"+port)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var all []netip.AddrPort
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if a, ok := conn.LocalAddr().(*net.TCPAddr); ok {
				mu.Lock()
				all = append(all, netip.AddrPortFrom(a.AddrPort().Addr().Unmap(), a.AddrPort().Port()))
				mu.Unlock()
			}
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return func() []netip.AddrPort {
		mu.Lock()
		defer mu.Unlock()
		return append([]netip.AddrPort(nil), all...)
	}
}

// Denied are addresses that no prober may send a packet to, of every range of the special-purpose registries and in every
// form that carries an IPv4 address: the first, the last and some in between.
func Denied() []netip.Addr {
	var out []netip.Addr
	for _, s := range []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
		"192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24",
		"203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
		"::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/32", "2001:2::/48", "2001:10::/28",
		"2001:20::/28", "2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20", "4000::/3", "5f00::/16", "fc00::/7",
		"fe80::/10", "fec0::/10", "ff00::/8",
	} {
		p := netip.MustParsePrefix(s)
		first := p.Addr()
		last := first.AsSlice()
		middle := first.AsSlice()
		for bit := p.Bits(); bit < first.BitLen(); bit++ {
			last[bit/8] |= 0x80 >> (bit % 8)
			if bit%3 == 0 {
				middle[bit/8] |= 0x80 >> (bit % 8)
			}
		}
		a, _ := netip.AddrFromSlice(last)
		b, _ := netip.AddrFromSlice(middle)
		out = append(out, first, first.Next(), a, b)
	}
	for _, s := range []string{
		"169.254.169.254", "127.0.0.1", "::1", "fd00:ec2::254", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
		"64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b::8.8.8.8", "2002:7f00:1::1", "2002:a9fe:a9fe::1", "2002:808:808::1",
		"2001:0:a00:1::f5ff:fffe", "2606:4700::5efe:10.0.0.1", "2606:4700::200:5efe:8.8.8.8",
	} {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}
