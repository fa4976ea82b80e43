// Package archive keeps a copy of a pool's web page as evidence: what one GET was answered, byte for byte, as a WARC 1.1
// file (ISO 28500:2017, iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1).
//
// Nothing is followed, run, or unpacked: no redirect, no script, no compression. A page is read up to MaxResponse bytes and
// Timeout.
package archive

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// The bounds of a copy.
const (
	// MaxResponse is how many bytes of an answer are kept, its head included.
	MaxResponse = 1 << 20
	// Timeout is how long the connection, the request and the answer may take together.
	Timeout = 10 * time.Second
	// MaxURL is the longest URL in bytes.
	MaxURL = 2048

	maxHead = 64 << 10 // bytes in which an answer's length is looked for
)

// ErrNotHTTP is in the error of a server that does not answer in HTTP. Nothing is written then.
var ErrNotHTTP = errors.New("the server does not answer in HTTP")

// Dialer connects to a literal address; the caller's decides whom it may reach.
type Dialer func(ctx context.Context, network, address string) (net.Conn, error)

// Page is what to copy.
type Page struct {
	// URL is the page, http or https, without user. Its host is what the server is told; Address is who is asked.
	URL string
	// Address and port of the server.
	Address netip.AddrPort
	// Agent is the User-Agent header, printable ASCII; "" for none.
	Agent string
	// TLS is the configuration for https; nil for the usual one, without verification of certificates: a copy is of who
	// answered, whoever that was.
	TLS *tls.Config
}

// Copy is what was copied.
type Copy struct {
	// Status is that of the answer, such as 200.
	Status int
	// Payload is how many bytes stand behind the head, and SHA256 the hash of these in lower-case hexadecimal.
	Payload int
	SHA256  string
	// Truncated says why the copy is not whole: "length", "time" or "disconnect", as in the field WARC-Truncated; "" if it
	// is.
	Truncated string
}

// Write asks for a page once and writes request and answer to w, as the last thing and in one piece. The answer is copied
// although it is cut short by a bound or by the server, as long as it begins like HTTP.
//
// The request is of HTTP/1.0, so that the answer is not in chunks: the hash of the payload is then that of the page, by any
// reading of the specification (section 5.9).
func Write(ctx context.Context, w io.Writer, dial Dialer, p Page) (Copy, error) {
	u, err := check(p)
	if err != nil {
		return Copy{}, fmt.Errorf("archive: %w", err)
	}
	request := "GET " + u.RequestURI() + " HTTP/1.0\r\nHost: " + u.Host + "\r\n"
	if p.Agent != "" {
		request += "User-Agent: " + p.Agent + "\r\n"
	}
	request += "Accept: text/html, */*;q=0.1\r\nAccept-Encoding: identity\r\nConnection: close\r\n\r\n"

	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	answer, truncated, err := get(ctx, dial, p, u, []byte(request))
	if err != nil {
		return Copy{}, fmt.Errorf("archive: %w", err)
	}
	status, head, ok := statusAndHead(answer)
	if !ok {
		return Copy{}, fmt.Errorf("archive: %w", ErrNotHTTP)
	}
	payload := answer[head:]
	sum := sha256.Sum256(payload)
	c := Copy{Status: status, Payload: len(payload), SHA256: hex.EncodeToString(sum[:]), Truncated: truncated}

	ids := [2]string{recordID(), recordID()}
	common := "WARC-Target-URI: " + u.String() + "\r\n" +
		"WARC-Date: " + began.UTC().Format(time.RFC3339) + "\r\n" +
		"WARC-IP-Address: " + p.Address.Addr().Unmap().WithZone("").String() + "\r\n"
	fields := common + "WARC-Payload-Digest: " + digest(payload) + "\r\n"
	if truncated != "" {
		fields += "WARC-Truncated: " + truncated + "\r\n"
	}
	var out bytes.Buffer
	record(&out, "response", ids[0], fields, answer)
	record(&out, "request", ids[1], common+"WARC-Concurrent-To: "+ids[0]+"\r\n", []byte(request))
	if _, err := w.Write(out.Bytes()); err != nil {
		return Copy{}, fmt.Errorf("archive: %w", err)
	}
	return c, nil
}

// check reads and bounds what is asked for.
func check(p Page) (*url.URL, error) {
	if len(p.URL) > MaxURL {
		return nil, fmt.Errorf("the URL is longer than %d bytes", MaxURL)
	}
	u, err := url.Parse(p.URL)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Opaque != "" {
		return nil, fmt.Errorf("%+q is no http or https URL of a server's page", p.URL)
	}
	u.Fragment, u.RawFragment = "", ""
	if u.Path == "" {
		u.Path = "/"
	}
	for _, s := range []string{u.Host, u.RequestURI(), p.Agent} {
		if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) || s != p.Agent && strings.Contains(s, " ") {
			return nil, fmt.Errorf("%+q has characters that no request has", s)
		}
	}
	if !p.Address.IsValid() || p.Address.Port() == 0 {
		return nil, errors.New("there is no address to ask")
	}
	return u, nil
}

// get sends the request and reads until the answer's end or a bound.
func get(ctx context.Context, dial Dialer, p Page, u *url.URL, request []byte) (answer []byte, truncated string, err error) {
	conn, err := dial(ctx, "tcp", p.Address.String())
	if err != nil {
		return nil, "", err
	}
	// Reads end when ctx does, by its own end or its caller's.
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	defer func() { _ = conn.Close() }()
	stream := conn
	if u.Scheme == "https" {
		conf := &tls.Config{InsecureSkipVerify: true}
		if p.TLS != nil {
			conf = p.TLS.Clone()
		}
		if conf.ServerName == "" {
			conf.ServerName = u.Hostname()
		}
		secure := tls.Client(conn, conf)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, "", err
		}
		stream = secure
	}
	if _, err := stream.Write(request); err != nil {
		return nil, "", err
	}
	// One byte more than the bound tells whether the answer is longer.
	buf := make([]byte, MaxResponse+1)
	n, end, whole, told := 0, len(buf), 0, false
	for n < end && err == nil {
		var read int
		read, err = stream.Read(buf[n:end])
		n += read
		if !told && n-read < maxHead {
			if whole, told = wholeLength(buf[:n]); told {
				end = min(whole, len(buf))
			}
		}
	}
	switch {
	case told && n >= whole && whole <= MaxResponse:
		return buf[:whole], "", nil
	case n > MaxResponse:
		return buf[:MaxResponse], "length", nil
	case errors.Is(err, io.EOF) && !told:
		return buf[:n], "", nil
	case ctx.Err() != nil && n > 0:
		return buf[:n], "time", nil
	case n > 0:
		return buf[:n], "disconnect", nil
	}
	return nil, "", err
}

// wholeLength gives the length of an answer that tells it: the head's and Content-Length, which must be there once. Answers
// that have no content whatever they tell end with their head (RFC 9110, section 6.4.1).
func wholeLength(answer []byte) (int, bool) {
	status, head, ok := statusAndHead(answer)
	if !ok || head == len(answer) && !bytes.HasSuffix(answer, []byte("\n")) {
		return 0, false
	}
	length, lengths := 0, 0
	lines := bytes.Split(answer[:head], []byte("\n"))
	if n := len(lines); n < 2 || len(bytes.TrimSpace(lines[n-2])) > 0 {
		return 0, false // the head is not whole
	}
	if status == 204 || status == 304 {
		return head, true
	}
	for _, line := range lines[1:] {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("Transfer-Encoding")) {
			return 0, false // against HTTP/1.0; it ends with the connection
		}
		if !bytes.EqualFold(name, []byte("Content-Length")) {
			continue
		}
		n, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 10, 31)
		if lengths++; err != nil || lengths > 1 {
			return 0, false
		}
		length = int(n)
	}
	return head + length, lengths == 1
}

// statusAndHead reads an answer's first line, and where its head ends; an answer without an empty line is all head.
func statusAndHead(answer []byte) (status, head int, ok bool) {
	line, _, _ := bytes.Cut(answer, []byte("\n"))
	const shortest = len("HTTP/1.1 200")
	if len(line) < shortest || !bytes.HasPrefix(line, []byte("HTTP/1.")) || line[8] != ' ' {
		return 0, 0, false
	}
	n, err := strconv.ParseUint(string(line[9:shortest]), 10, 16)
	if err != nil || n < 100 || n > 599 {
		return 0, 0, false
	}
	for i := 0; i < len(answer); {
		end := bytes.IndexByte(answer[i:], '\n')
		if end < 0 {
			break
		}
		if len(bytes.TrimRight(answer[i:i+end], "\r")) == 0 {
			return int(n), i + end + 1, true
		}
		i += end + 1
	}
	return int(n), len(answer), true
}

// record writes one record (section 4).
func record(w *bytes.Buffer, kind, id, fields string, block []byte) {
	w.WriteString("WARC/1.1\r\nWARC-Type: " + kind + "\r\nWARC-Record-ID: " + id + "\r\n" + fields +
		"WARC-Block-Digest: " + digest(block) + "\r\n" +
		"Content-Type: application/http;msgtype=" + kind + "\r\n" +
		"Content-Length: " + strconv.Itoa(len(block)) + "\r\n\r\n")
	w.Write(block)
	w.WriteString("\r\n\r\n")
}

// digest is a labelled digest (section 5.8), in base 32 as most software writes and checks it.
func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + base32.StdEncoding.EncodeToString(sum[:])
}

// recordID makes a random UUID of version 4 (RFC 9562).
func recordID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("<urn:uuid:%x-%x-%x-%x-%x>", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
