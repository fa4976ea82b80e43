package jarm

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// MaxAnswer is how many bytes of an answer are looked at; a ServerHello that is longer counts as none.
const MaxAnswer = 1484

const (
	recordHandshake = 22 // RFC 8446 section 5.1
	serverHello     = 2  // RFC 8446 section 4
	headers         = 9  // bytes of the record's and the message's header
)

// Answer is what a server chose. The zero value stands for all that is no ServerHello: an alert, a close, other bytes.
type Answer struct {
	// Cipher is the cipher suite, Version the version of the hello itself (which stays 1.2 in TLS 1.3).
	Cipher, Version uint16
	// ALPN is the application protocol, "" if none was chosen. It is what the server sent, and valid UTF-8.
	ALPN string
	// Extensions are the types of the extensions in the server's order, at most MaxAnswer/4.
	Extensions []uint16
}

// Read takes a server's answer to one hello. It reads at most MaxAnswer bytes and waits for no more than the ServerHello,
// however the bytes are cut; what cannot be one it does not wait for. (The reference reads one segment, in which it expects
// all of it.) Read fails only if r does before that, with io.EOF left out: a close is an answer.
func Read(r io.Reader) (Answer, error) {
	var buf [MaxAnswer]byte
	n := 0
	for {
		need := wanted(buf[:n])
		if need <= n {
			return parse(buf[:n]), nil
		}
		got, err := io.ReadAtLeast(r, buf[n:], need-n)
		n += got
		if err == nil || wanted(buf[:n]) <= n {
			continue
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return Answer{}, nil
		}
		return Answer{}, fmt.Errorf("read the answer: %w", err)
	}
}

// wanted gives how many bytes an answer has to have until more of it can be told, or that it is complete: at most len(b)
// if nothing more is wanted.
func wanted(b []byte) int {
	switch {
	case len(b) == 0:
		return 1
	case b[0] != recordHandshake:
		return 0
	case len(b) < 6:
		return 6
	case b[5] != serverHello:
		return 0
	case len(b) < headers:
		return headers
	}
	whole := headers + messageLength(b)
	if whole > MaxAnswer {
		return 0
	}
	return whole
}

// messageLength gives the length of the handshake message in a record.
func messageLength(b []byte) int { return int(b[6])<<16 | int(b[7])<<8 | int(b[8]) }

// parse reads a ServerHello (RFC 8446 section 4.1.3, RFC 5246 section 7.4.1.3). What is not well formed is no answer; the
// reference makes something of some of that.
func parse(b []byte) Answer {
	if len(b) < headers || b[0] != recordHandshake || b[5] != serverHello {
		return Answer{}
	}
	length := messageLength(b)
	if headers+length > len(b) || int(binary.BigEndian.Uint16(b[3:])) < length+4 {
		return Answer{}
	}
	body := b[headers : headers+length]
	const session = 2 + 32 // version and random stand before
	if len(body) <= session {
		return Answer{}
	}
	a := Answer{Version: binary.BigEndian.Uint16(body)}
	if a.Version>>8 != 3 || a.Version&0xff >= uint16(len(versionLetters)) {
		return Answer{}
	}
	rest := body[session+1:]
	if len(rest) < int(body[session])+3 {
		return Answer{}
	}
	rest = rest[body[session]:]
	a.Cipher = binary.BigEndian.Uint16(rest)
	if rest = rest[3:]; len(rest) == 0 {
		return a
	}
	if len(rest) < 2 || int(binary.BigEndian.Uint16(rest)) > len(rest)-2 {
		return Answer{}
	}
	rest = rest[2 : 2+binary.BigEndian.Uint16(rest)]
	for len(rest) > 0 {
		if len(rest) < 4 {
			return Answer{}
		}
		kind, size := binary.BigEndian.Uint16(rest), int(binary.BigEndian.Uint16(rest[2:]))
		if rest = rest[4:]; size > len(rest) {
			return Answer{}
		}
		if kind == extALPN && !slices.Contains(a.Extensions, kind) {
			const before = 3 // the lengths of the list and of its first name
			if size < before || !utf8.Valid(rest[before:size]) {
				return Answer{}
			}
			a.ALPN = string(rest[before:size])
		}
		a.Extensions = append(a.Extensions, kind)
		rest = rest[size:]
	}
	return a
}

// numbered are the ciphers by their number in the hash, from 1.
var numbered = []uint16{
	0x0004, 0x0005, 0x0007, 0x000a, 0x0016, 0x002f, 0x0033, 0x0035, 0x0039, 0x003c, 0x003d, 0x0041,
	0x0045, 0x0067, 0x006b, 0x0084, 0x0088, 0x009a, 0x009c, 0x009d, 0x009e, 0x009f, 0x00ba, 0x00be,
	0x00c0, 0x00c4, 0xc007, 0xc008, 0xc009, 0xc00a, 0xc011, 0xc012, 0xc013, 0xc014, 0xc023, 0xc024,
	0xc027, 0xc028, 0xc02b, 0xc02c, 0xc02f, 0xc030, 0xc060, 0xc061, 0xc072, 0xc073, 0xc076, 0xc077,
	0xc09c, 0xc09d, 0xc09e, 0xc09f, 0xc0a0, 0xc0a1, 0xc0a2, 0xc0a3, 0xc0ac, 0xc0ad, 0xc0ae, 0xc0af,
	0xcc13, 0xcc14, 0xcca8, 0xcca9, 0x1301, 0x1302, 0x1303, 0x1304, 0x1305,
}

// versionLetters are those of SSL 3.0, TLS 1.0 and so on; 1.4 is not there yet, but has a letter in the reference.
const versionLetters = "abcdef"

// Hash gives the fingerprint: 62 characters of 0-9 and a-f. The first 30 are three for each answer, the number of its
// cipher and the letter of its version, 000 for none; the last 32 are half of a SHA-256 over all names of ALPN and types
// of extensions. Two quirks of the reference: a cipher that it does not know has the number after the last, and without
// any answer all 62 are zeros.
func Hash(answers [Hellos]Answer) string {
	if !slices.ContainsFunc(answers[:], Answer.given) {
		return strings.Repeat("0", 62)
	}
	var chosen, rest strings.Builder
	for _, a := range answers {
		if !a.given() {
			chosen.WriteString("000")
			continue
		}
		number := slices.Index(numbered, a.Cipher)
		if number < 0 {
			number = len(numbered)
		}
		fmt.Fprintf(&chosen, "%02x%c", number+1, versionLetters[min(int(a.Version&0xff), len(versionLetters)-1)])
		rest.WriteString(a.ALPN)
		for i, kind := range a.Extensions {
			if i > 0 {
				rest.WriteByte('-')
			}
			fmt.Fprintf(&rest, "%04x", kind)
		}
	}
	sum := sha256.Sum256([]byte(rest.String()))
	return chosen.String() + hex.EncodeToString(sum[:16])
}

// given tells that it is a ServerHello.
func (a Answer) given() bool { return a.Version != 0 }
