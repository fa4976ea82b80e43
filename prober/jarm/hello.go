// Package jarm takes the JARM fingerprint of a TLS server (Salesforce, 2020): ten ClientHellos that differ in versions,
// ciphers, their order and ALPN, and a hash of what the server chose each time. Servers of the same software and
// configuration have the same one, whatever name their certificate bears. It tells servers from each other and proves
// nothing.
//
// The hellos, the reading of answers and the hash are those of the reference, github.com/salesforce/jarm, jarm.py 1.0; the
// tables of ciphers, the two quirks of the hash (see Hash) and the bound of 1484 bytes are from there. The package dials
// nobody.
package jarm

import (
	"crypto/rand"
	"encoding/binary"
	"io"
	"slices"
)

const (
	// Hellos is how many ClientHellos a fingerprint takes, each on a connection of its own.
	Hellos = 10
	// MaxName is the longest server name in bytes (RFC 1035 section 2.3.4); of a longer one the beginning is sent.
	MaxName = 253
)

// The versions of TLS as they stand on the wire (RFC 8446 section 4.2.1).
const (
	tls10 = 0x0301
	tls11 = 0x0302
	tls12 = 0x0303
	tls13 = 0x0304
)

// The extensions that are sent (IANA, TLS ExtensionType Values).
const (
	extServerName        = 0
	extMaxFragmentLength = 1
	extSupportedGroups   = 10
	extPointFormats      = 11
	extSignatures        = 13
	extALPN              = 16
	extMasterSecret      = 23
	extSessionTicket     = 35
	extSupportedVersions = 43
	extPSKModes          = 45
	extKeyShare          = 51
	extRenegotiation     = 0xff01
)

// offered are the ciphers in the order that the reference calls forward.
var offered = []uint16{
	0x0016, 0x0033, 0x0067, 0xc09e, 0xc0a2, 0x009e, 0x0039, 0x006b, 0xc09f, 0xc0a3, 0x009f, 0x0045,
	0x00be, 0x0088, 0x00c4, 0x009a, 0xc008, 0xc009, 0xc023, 0xc0ac, 0xc0ae, 0xc02b, 0xc00a, 0xc024,
	0xc0ad, 0xc0af, 0xc02c, 0xc072, 0xc073, 0xcca9, 0x1302, 0x1301, 0xcc14, 0xc007, 0xc012, 0xc013,
	0xc027, 0xc02f, 0xc014, 0xc028, 0xc030, 0xc060, 0xc061, 0xc076, 0xc077, 0xcca8, 0x1305, 0x1304,
	0x1303, 0xcc13, 0xc011, 0x000a, 0x002f, 0x003c, 0xc09c, 0xc0a0, 0x009c, 0x0035, 0x003d, 0xc09d,
	0xc0a1, 0x009d, 0x0041, 0x00ba, 0x0084, 0x00c0, 0x0007, 0x0004, 0x0005,
}

// The names for ALPN, from the weakest to the strongest; the rare ones leave out what most servers speak.
var (
	usual = []string{"http/0.9", "http/1.0", "http/1.1", "spdy/1", "spdy/2", "spdy/3", "h2", "h2c", "hq"}
	rare  = []string{"http/0.9", "http/1.0", "spdy/1", "spdy/2", "spdy/3", "h2c", "hq"}
)

// upTo12 and upTo13 are what the supported_versions extension may name.
var (
	upTo12 = []uint16{tls10, tls11, tls12}
	upTo13 = []uint16{tls10, tls11, tls12, tls13}
)

// shape is what one hello differs in from the others.
type shape struct {
	record, version uint16 // of the record and of the hello
	ciphers         []uint16
	grease          bool
	protocols       []string
	versions        []uint16 // nil leaves the extension out
}

// shapes gives the ten hellos in their order.
func shapes() [Hellos]shape {
	no13 := slices.DeleteFunc(slices.Clone(offered), func(c uint16) bool { return c>>8 == 0x13 })
	return [Hellos]shape{
		{record: tls12, version: tls12, ciphers: offered, protocols: backward(usual), versions: backward(upTo12)},
		{record: tls12, version: tls12, ciphers: backward(offered), protocols: usual, versions: upTo12},
		{record: tls12, version: tls12, ciphers: topHalf(offered), protocols: usual},
		{record: tls12, version: tls12, ciphers: bottomHalf(offered), protocols: rare},
		{record: tls12, version: tls12, ciphers: middleOut(offered), grease: true, protocols: backward(rare)},
		{record: tls11, version: tls11, ciphers: offered, protocols: usual},
		{record: tls10, version: tls12, ciphers: offered, protocols: backward(usual), versions: backward(upTo13)},
		{record: tls10, version: tls12, ciphers: backward(offered), protocols: usual, versions: upTo13},
		{record: tls10, version: tls12, ciphers: no13, protocols: usual, versions: upTo13},
		{record: tls10, version: tls12, ciphers: middleOut(offered), grease: true, protocols: backward(usual), versions: backward(upTo13)},
	}
}

func backward[T any](s []T) []T {
	s = slices.Clone(s)
	slices.Reverse(s)
	return s
}

// topHalf gives the first half backward, the one in the middle included.
func topHalf(s []uint16) []uint16 { return backward(s[:(len(s)+1)/2]) }

// bottomHalf gives the second half, the one in the middle left out.
func bottomHalf(s []uint16) []uint16 { return s[(len(s)+1)/2:] }

// middleOut begins with the one in the middle of an odd number and goes outward, the later one of each pair first.
func middleOut(s []uint16) []uint16 {
	middle := len(s) / 2
	out := []uint16{s[middle]}
	for i := 1; i <= middle; i++ {
		out = append(out, s[middle+i], s[middle-i])
	}
	return out
}

// Hello gives the ten ClientHellos, each a whole record of less than 700 bytes, in the order in which Hash takes the
// answers. The name is sent as it is (SNI): the reference sends the address where no name is known, although RFC 6066
// section 3 forbids it, and a server may answer differently without. Random values are new each time.
func Hello(name string) [Hellos][]byte { return build(name, rand.Reader) }

// build takes random bytes from a source, of which errors count as zeros: nothing here is secret.
func build(name string, random io.Reader) [Hellos][]byte {
	var out [Hellos][]byte
	for i, s := range shapes() {
		out[i] = s.build(name[:min(len(name), MaxName)], random)
	}
	return out
}

// build gives the record of one hello.
func (s shape) build(name string, random io.Reader) []byte {
	some := func(n int) []byte {
		b := make([]byte, n)
		_, _ = io.ReadFull(random, b) // crypto/rand does not fail
		return b
	}
	ciphers := s.ciphers
	if s.grease {
		ciphers = append([]uint16{grease(some)}, ciphers...)
	}
	hello := binary.BigEndian.AppendUint16(nil, s.version)
	hello = append(hello, some(32)...)        // random
	hello = append(hello, short(some(32))...) // session
	hello = append(hello, long(pairs(ciphers))...)
	hello = append(hello, 1, 0) // no compression
	hello = append(hello, long(s.extensions(name, some))...)

	message := []byte{1, 0} // ClientHello; its length has three bytes
	message = append(message, long(hello)...)
	record := binary.BigEndian.AppendUint16([]byte{recordHandshake}, s.record)
	return append(record, long(message)...)
}

// extensions gives the extensions of one hello.
func (s shape) extensions(name string, some func(int) []byte) []byte {
	var out []byte
	add := func(kind uint16, body []byte) {
		out = binary.BigEndian.AppendUint16(out, kind)
		out = append(out, long(body)...)
	}
	var protocols []byte
	for _, p := range s.protocols {
		protocols = append(protocols, short([]byte(p))...)
	}
	var share []byte
	if s.grease {
		add(grease(some), nil)
	}
	add(extServerName, long(append([]byte{0}, long([]byte(name))...)))
	add(extMasterSecret, nil)
	add(extMaxFragmentLength, []byte{1}) // 512 bytes
	add(extRenegotiation, []byte{0})
	add(extSupportedGroups, long(pairs([]uint16{29, 23, 24, 25}))) // X25519, P-256, P-384, P-521
	add(extPointFormats, short([]byte{0}))
	add(extSessionTicket, nil)
	add(extALPN, long(protocols))
	add(extSignatures, long(pairs([]uint16{0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601, 0x0201})))
	if s.grease {
		share = append(binary.BigEndian.AppendUint16(nil, grease(some)), long([]byte{0})...)
	}
	share = binary.BigEndian.AppendUint16(share, 29)
	add(extKeyShare, long(append(share, long(some(32))...)))
	add(extPSKModes, short([]byte{1}))
	if s.versions != nil {
		versions := s.versions
		if s.grease {
			versions = append([]uint16{grease(some)}, versions...)
		}
		add(extSupportedVersions, short(pairs(versions)))
	}
	return out
}

// grease gives one of the sixteen values that a server has to pass over (RFC 8701).
func grease(some func(int) []byte) uint16 {
	b := some(1)[0]&0xf0 | 0x0a
	return uint16(b)<<8 | uint16(b)
}

// pairs gives numbers of two bytes each.
func pairs(numbers []uint16) []byte {
	out := make([]byte, 0, 2*len(numbers))
	for _, n := range numbers {
		out = binary.BigEndian.AppendUint16(out, n)
	}
	return out
}

// short and long put a length of one or two bytes before; all that is sent fits.
func short(b []byte) []byte { return append([]byte{byte(len(b))}, b...) }

func long(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(b)), uint16(len(b))), b...)
}
