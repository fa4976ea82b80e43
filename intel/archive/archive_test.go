package archive_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/minecanary/minecanary/intel/archive"
)

// record is a record of a WARC file.
type record struct {
	fields map[string]string
	block  []byte
}

// readWARC reads a file strictly: as section 4 of the specification has it, and not a byte more.
func readWARC(tb testing.TB, file []byte) []record {
	tb.Helper()
	var out []record
	ids := map[string]bool{}
	for len(file) > 0 {
		head, rest, ok := bytes.Cut(file, []byte("\r\n\r\n"))
		if !ok {
			tb.Fatalf("no end of a head in %.200q", file)
		}
		lines := strings.Split(string(head), "\r\n")
		if lines[0] != "WARC/1.1" {
			tb.Fatalf("version is %q", lines[0])
		}
		r := record{fields: map[string]string{}}
		for _, line := range lines[1:] {
			name, value, ok := strings.Cut(line, ": ")
			if !ok || r.fields[name] != "" || value == "" || strings.ContainsAny(line, "\r\n") {
				tb.Fatalf("field %q", line)
			}
			r.fields[name] = value
		}
		for name, form := range map[string]string{
			"WARC-Record-ID":    `^<urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}>$`,
			"WARC-Date":         `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`,
			"WARC-Type":         `^(request|response)$`,
			"WARC-Target-URI":   `^https?://[!-~]+$`,
			"WARC-IP-Address":   `^[0-9a-f.:]+$`,
			"WARC-Block-Digest": `^sha256:[A-Z2-7]{52}====$`,
			"Content-Length":    `^\d+$`,
			"Content-Type":      `^application/http;msgtype=` + r.fields["WARC-Type"] + `$`,
		} {
			if !regexp.MustCompile(form).MatchString(r.fields[name]) {
				tb.Errorf("%s is %q", name, r.fields[name])
			}
		}
		n, err := strconv.Atoi(r.fields["Content-Length"])
		if err != nil || len(rest) < n+4 || string(rest[n:n+4]) != "\r\n\r\n" {
			tb.Fatalf("the block of %d bytes has no end, %v", n, err)
		}
		r.block = rest[:n]
		sum := sha256.Sum256(r.block)
		if got := r.fields["WARC-Block-Digest"]; got != "sha256:"+base32.StdEncoding.EncodeToString(sum[:]) {
			tb.Errorf("block digest is %s", got)
		}
		if ids[r.fields["WARC-Record-ID"]] {
			tb.Error("an ID is there twice")
		}
		ids[r.fields["WARC-Record-ID"]] = true
		out, file = append(out, r), rest[n+4:]
	}
	return out
}

// check reads a copy back and holds it against what was told of it; it gives the payload.
func check(tb testing.TB, file []byte, c archive.Copy) (response, request record, payload []byte) {
	tb.Helper()
	records := readWARC(tb, file)
	if len(records) != 2 || records[0].fields["WARC-Type"] != "response" || records[1].fields["WARC-Type"] != "request" {
		tb.Fatalf("%d records", len(records))
	}
	response, request = records[0], records[1]
	if request.fields["WARC-Concurrent-To"] != response.fields["WARC-Record-ID"] {
		tb.Error("the request is of another response")
	}
	if response.fields["WARC-Truncated"] != c.Truncated {
		tb.Errorf("truncated is %q, and %q in the file", c.Truncated, response.fields["WARC-Truncated"])
	}
	payload = response.block[len(response.block)-c.Payload:]
	sum := sha256.Sum256(payload)
	if c.SHA256 != hex.EncodeToString(sum[:]) || response.fields["WARC-Payload-Digest"] != "sha256:"+base32.StdEncoding.EncodeToString(sum[:]) {
		tb.Errorf("digests are %s and %s", c.SHA256, response.fields["WARC-Payload-Digest"])
	}
	if _, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(request.block))); err != nil {
		tb.Error(err)
	}
	return response, request, payload
}

// raw is a server that says something to whoever asks, and closes; hold keeps it open until the test ends.
func raw(tb testing.TB, answer string, hold bool) netip.AddrPort {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	done := make(chan struct{})
	tb.Cleanup(func() { close(done); _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
					return
				}
				_, _ = io.WriteString(conn, answer)
				if hold {
					<-done
				}
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

var dial = new(net.Dialer).DialContext

func TestWrite(t *testing.T) {
	const inject = "WARC/1.1\r\nWARC-Type: response\r\n\r\n"
	const exact = archive.MaxResponse - len("HTTP/1.1 200 OK\r\nContent-Length: 1048532\r\n\r\n")
	big := strings.Repeat("x", 2*archive.MaxResponse)
	tests := []struct {
		name, answer string
		hold         bool
		status       int
		payload      string
		truncated    string
	}{
		{"a page", "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<h1>Pool</h1>", false, 200, "<h1>Pool</h1>", ""},
		{"with its length", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npoolmore", true, 200, "pool", ""},
		{"shorter than told", "HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\npool", false, 200, "pool", "disconnect"},
		{"never ends", "HTTP/1.1 200 OK\r\n\r\npool", true, 200, "pool", "time"},
		{"no content", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\npools", true, 204, "", ""},
		{"a redirect", "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", false, 302, "", ""},
		{"huge", "HTTP/1.1 200 OK\r\n\r\n" + big, false, 200, big[:archive.MaxResponse-len("HTTP/1.1 200 OK\r\n\r\n")], "length"},
		{"huge and told", "HTTP/1.1 200 OK\r\nContent-Length: 2097152\r\n\r\n" + big, false, 200, big[:archive.MaxResponse-len("HTTP/1.1 200 OK\r\nContent-Length: 2097152\r\n\r\n")], "length"},
		{"as long as can be", fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", exact, big), true, 200, big[:exact], ""},
		{"a byte more", fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", exact+1, big), true, 200, big[:exact], "length"},
		{"a huge head", "HTTP/1.1 200 OK\r\nX: " + big, false, 200, "", "length"},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 9\r\n\r\npool", false, 200, "pool", ""},
		{"a wrong length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\npool", false, 200, "pool", ""},
		{"chunks all the same", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n1\r\nx\r\n0\r\n\r\n", false, 200, "1\r\nx\r\n0\r\n\r\n", ""},
		{"records in it", "HTTP/1.1 200 OK\r\nX: " + inject + inject, false, 200, inject, ""},
		{"bare newlines", "HTTP/1.0 404 No\nX: y\n\npool", false, 404, "pool", ""},
		{"no empty line", "HTTP/1.0 200 OK\r\nX: y\r\n", false, 200, "", ""},
		{"an empty page", "HTTP/1.1 500 \r\n\r\n", false, 500, "", ""},
		{"control characters", "HTTP/1.1 200 \x1b[31m\x00\r\nX\x00Y: \xff\r\n\r\n\x00\xff", false, 200, "\x00\xff", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			addr := raw(t, tt.answer, tt.hold)
			asked := 0
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			if tt.truncated != "time" {
				cancel()
				ctx, cancel = context.WithTimeout(t.Context(), 5*time.Second)
			}
			defer cancel()
			var file bytes.Buffer
			c, err := archive.Write(ctx, &file, func(ctx context.Context, network, address string) (net.Conn, error) {
				asked++
				if network != "tcp" || address != addr.String() {
					t.Errorf("dials %s %s", network, address)
				}
				return dial(ctx, network, address)
			}, archive.Page{URL: "http://pool.example/a?b=c#d", Address: addr, Agent: "test/1"})
			if err != nil {
				t.Fatal(err)
			}
			response, request, payload := check(t, file.Bytes(), c)
			if asked != 1 {
				t.Errorf("%d connections", asked)
			}
			if c.Status != tt.status || c.Truncated != tt.truncated || string(payload) != tt.payload {
				t.Errorf("%+v, payload %.100q; want %d %q, %.100q", c, payload, tt.status, tt.truncated, tt.payload)
			}
			if !strings.HasPrefix(tt.answer, string(response.block)) || len(response.block) > archive.MaxResponse {
				t.Errorf("the block of %d bytes is not what the server said", len(response.block))
			}
			if got := response.fields["WARC-Target-URI"]; got != "http://pool.example/a?b=c" {
				t.Errorf("the page is %s", got)
			}
			if got := response.fields["WARC-IP-Address"]; got != "127.0.0.1" {
				t.Errorf("the address is %s", got)
			}
			const wantRequest = "GET /a?b=c HTTP/1.0\r\nHost: pool.example\r\nUser-Agent: test/1\r\nAccept: text/html, */*;q=0.1\r\nAccept-Encoding: identity\r\nConnection: close\r\n\r\n"
			if string(request.block) != wantRequest {
				t.Errorf("request is %q", request.block)
			}
		})
	}
}

func TestNothingWritten(t *testing.T) {
	for name, answer := range map[string]string{
		"nothing":           "",
		"Stratum":           `{"id":1,"result":true,"error":null}` + "\n",
		"SSH":               "SSH-2.0-OpenSSH_9.2\r\n",
		"HTTP/2":            "HTTP/2 200\r\n\r\n",
		"no status":         "HTTP/1.1 abc\r\n\r\n",
		"status 7":          "HTTP/1.1 007 Bond\r\n\r\n",
		"cut short":         "HTTP/1.1",
		"a negative status": "HTTP/1.1 -20\r\n\r\n",
	} {
		var file bytes.Buffer
		_, err := archive.Write(t.Context(), &file, dial, archive.Page{URL: "http://pool.example/", Address: raw(t, answer, false)})
		if !errors.Is(err, archive.ErrNotHTTP) || file.Len() > 0 {
			t.Errorf("%s: %v, %d bytes", name, err, file.Len())
		}
	}
	refused := errors.New("the guard refuses")
	guard := func(context.Context, string, string) (net.Conn, error) { return nil, refused }
	var file bytes.Buffer
	addr := netip.MustParseAddrPort("127.0.0.1:1")
	if _, err := archive.Write(t.Context(), &file, guard, archive.Page{URL: "http://pool.example/", Address: addr}); !errors.Is(err, refused) || file.Len() > 0 {
		t.Error(err)
	}
	never := func(context.Context, string, string) (net.Conn, error) { t.Error("dials"); return nil, refused }
	for _, p := range []archive.Page{
		{URL: "", Address: addr},
		{URL: "ftp://pool.example/", Address: addr},
		{URL: "http:pool.example", Address: addr},
		{URL: "http:///x", Address: addr},
		{URL: "http://user:secret@pool.example/", Address: addr},
		{URL: "http://pool.example/\r\nX: y", Address: addr},
		{URL: "http://pool.exämple/", Address: addr},
		{URL: "http://pool.example/" + strings.Repeat("x", archive.MaxURL), Address: addr},
		{URL: "http://pool.example/", Agent: "a\r\nX: y", Address: addr},
		{URL: "http://pool.example/"},
		{URL: "http://pool.example/", Address: netip.MustParseAddrPort("127.0.0.1:0")},
	} {
		if _, err := archive.Write(t.Context(), &file, never, p); err == nil || file.Len() > 0 || len(err.Error()) > 3*archive.MaxURL {
			t.Errorf("%.50q: %v", p.URL, err)
		}
	}
}

func TestTLS(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS.ServerName != "pool.example" || r.Header.Get("Accept-Encoding") != "identity" {
			t.Errorf("asked as %q with %v", r.TLS.ServerName, r.Header)
		}
		_, _ = io.WriteString(w, "secure")
	}))
	defer server.Close()
	var file bytes.Buffer
	addr := server.Listener.Addr().(*net.TCPAddr).AddrPort()
	c, err := archive.Write(t.Context(), &file, dial, archive.Page{URL: "https://pool.example", Address: addr})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, payload := check(t, file.Bytes(), c); string(payload) != "secure" || c.Truncated != "" {
		t.Errorf("%+v, %q", c, payload)
	}
	if name := os.Getenv("ARCHIVE_KEEP"); name != "" { // to look at with other software
		if err := os.WriteFile(name, file.Bytes(), 0o600); err != nil {
			t.Error(err)
		}
	}
}

// A server that says a byte now and then, or nothing, is left after Timeout.
func TestSlow(t *testing.T) {
	for name, answer := range map[string]string{"a drip": "HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("x", 1000), "nothing": ""} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				var file bytes.Buffer
				c, err := archive.Write(t.Context(), &file, func(context.Context, string, string) (net.Conn, error) {
					client, server := net.Pipe()
					go func() {
						defer func() { _ = server.Close() }()
						if _, err := http.ReadRequest(bufio.NewReader(server)); err != nil {
							return
						}
						for i := range answer {
							if _, err := server.Write([]byte{answer[i]}); err != nil {
								return
							}
							time.Sleep(300 * time.Millisecond)
						}
						_, _ = io.Copy(io.Discard, server) // until the other end closes
					}()
					return client, nil
				}, archive.Page{URL: "http://pool.example/", Address: netip.MustParseAddrPort("192.0.2.1:80")})
				if took := time.Since(began); took != archive.Timeout {
					t.Errorf("took %v", took)
				}
				time.Sleep(time.Minute) // the server's end
				if answer == "" {
					if err == nil || file.Len() > 0 {
						t.Errorf("%+v", c)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if _, _, payload := check(t, file.Bytes(), c); c.Truncated != "time" || len(payload) < 10 {
					t.Errorf("%+v", c)
				}
			})
		})
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestWriteFails(t *testing.T) {
	addr := raw(t, "HTTP/1.1 200 OK\r\n\r\n", false)
	if _, err := archive.Write(t.Context(), failingWriter{}, dial, archive.Page{URL: "http://pool.example/", Address: addr}); !errors.Is(err, io.ErrShortWrite) {
		t.Error(err)
	}
}

// Whatever a server says, the file reads back and holds just that.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npool"), uint8(3))
	f.Add([]byte("HTTP/1.0 404 No\n\nWARC/1.1\r\n\r\n"), uint8(100))
	f.Add([]byte("HTTP/1.1 204 x\r\n\r\nrest"), uint8(1))
	f.Fuzz(func(t *testing.T, answer []byte, cut uint8) {
		write := func(cut int) (archive.Copy, []byte, error) {
			var file bytes.Buffer
			c, err := archive.Write(t.Context(), &file, func(context.Context, string, string) (net.Conn, error) {
				client, server := net.Pipe()
				go func() {
					defer func() { _ = server.Close() }()
					if _, err := http.ReadRequest(bufio.NewReader(server)); err != nil {
						return
					}
					for rest := answer; len(rest) > 0; {
						n := min(cut, len(rest))
						if _, err := server.Write(rest[:n]); err != nil {
							return
						}
						rest = rest[n:]
					}
				}()
				return client, nil
			}, archive.Page{URL: "http://pool.example/", Address: netip.MustParseAddrPort("192.0.2.1:80")})
			return c, file.Bytes(), err
		}
		c, file, err := write(max(int(cut), 1))
		if err != nil {
			if len(file) > 0 {
				t.Fatalf("%v, but %d bytes", err, len(file))
			}
			return
		}
		response, _, _ := check(t, file, c)
		if !bytes.HasPrefix(answer, response.block) {
			t.Fatal("the block is not what the server said")
		}
		if whole, _, err := write(len(answer)); err != nil || fmt.Sprint(whole) != fmt.Sprint(c) {
			t.Fatalf("in one piece it is %+v, %v; cut %+v", whole, err, c)
		}
	})
}
