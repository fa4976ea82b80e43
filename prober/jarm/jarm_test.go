package jarm

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// zeros is a source of zeros instead of random bytes.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// TestHello: the hellos for pool.example.org are those of the reference, where its random bytes are zeros and its choice
// of GREASE is the first.
func TestHello(t *testing.T) {
	want := []string{
		"8fc5749b09f9b6259239ec0a8b9e1c2fcec090615cf1cd968af3448c903e6f16",
		"ac0deb3321f51fb75e237e2319d857539bd0af39300ca500d2c9ad77d21c4a1c",
		"ed1f7f514ad288e3b048b6825325f1e7a68884c6bada4abf95579d7ca63b5424",
		"ddfbbf8add5457b006112a41c22dcbd8888b708c7211a6aa6a0d586dae9c2986",
		"3be113b071804b9d4058a3f3097a852f8c364a8a67c5702b27d4b218e5c19be3",
		"77a41a55be5f9cc4b2c044275db3495d06ec9d3ce28f9f875dd4308cd2cee3f7",
		"b1fe352b61e7c874d6e654da79fb0912958933d476d2d817644788dbe9948b2c",
		"f06937e6395b90362f0178b30c25b04f403245e4d3e142fe4b33475dbbd89db2",
		"3a47ca530f2b48bf02cbd4026233b0fba0cbd4f14d1fe79c77ff22b9b885cd95",
		"dd51a3426030742d6410bea2b3609168ae19b64add2ddc281f68fc9657991d2f",
	}
	var got []string
	for _, hello := range build("pool.example.org", zeros{}) {
		got = append(got, fmt.Sprintf("%x", sha256.Sum256(hello)))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestHelloBounds: whatever the name, a hello is one whole record of less than 700 bytes, and never twice the same.
func TestHelloBounds(t *testing.T) {
	for _, name := range []string{"", "a", strings.Repeat("n", MaxName), strings.Repeat("n", 1<<20)} {
		again := Hello(name)
		for i, hello := range Hello(name) {
			if len(hello) >= 700 || int(binary.BigEndian.Uint16(hello[3:])) != len(hello)-5 || messageLength(hello) != len(hello)-headers {
				t.Errorf("hello %d for %d bytes: %d bytes of %x", i, len(name), len(hello), hello[:headers])
			}
			if bytes.Equal(hello, again[i]) {
				t.Errorf("hello %d is the same twice", i)
			}
		}
	}
}

// TestNumbered: the ciphers that have a number are those that are offered.
func TestNumbered(t *testing.T) {
	if diff := cmp.Diff(slices.Sorted(slices.Values(offered)), slices.Sorted(slices.Values(numbered))); diff != "" {
		t.Error(diff)
	}
}

// recording is what a local server said to the ten hellos, and what jarm.py made of the same server.
type recording struct {
	Name, Hash, Raw string
	Answers         []string
}

func recordings(tb testing.TB) []recording {
	tb.Helper()
	b, err := os.ReadFile("testdata/recorded.json")
	if err != nil {
		tb.Fatal(err)
	}
	var out []recording
	if err := json.Unmarshal(b, &out); err != nil || len(out) < 10 {
		tb.Fatalf("%d recordings, %v", len(out), err)
	}
	return out
}

// raw gives an answer as the reference shows it.
func raw(a Answer) string {
	if !a.given() {
		return "|||"
	}
	var types []string
	for _, kind := range a.Extensions {
		types = append(types, fmt.Sprintf("%04x", kind))
	}
	return fmt.Sprintf("%04x|%04x|%s|%s", a.Cipher, a.Version, a.ALPN, strings.Join(types, "-"))
}

// TestRecorded: the hash of what was recorded is that of the reference, answer by answer.
func TestRecorded(t *testing.T) {
	for _, r := range recordings(t) {
		t.Run(r.Name, func(t *testing.T) {
			var answers [Hellos]Answer
			var raws []string
			for i, text := range r.Answers {
				b, err := hex.DecodeString(text)
				if err != nil {
					t.Fatal(err)
				}
				if answers[i], err = Read(bytes.NewReader(b)); err != nil {
					t.Fatal(err)
				}
				raws = append(raws, raw(answers[i]))
			}
			if diff := cmp.Diff(strings.Split(r.Raw, ","), raws); diff != "" {
				t.Error(diff)
			}
			if got := Hash(answers); got != r.Hash {
				t.Errorf("hash %s, want %s", got, r.Hash)
			}
		})
	}
}

// TestServers: the hashes of servers of Go's whose choice does not depend on the processor, as jarm.py gave them.
func TestServers(t *testing.T) {
	tests := []struct {
		name   string
		rsa    bool
		config *tls.Config
		want   string
	}{
		{"AES-CBC", false, &tls.Config{CipherSuites: []uint16{0xc009, 0xc00a, 0xc013, 0xc014, 0x2f, 0x35}}, "1dd1dd1dd0001dd0001dd1dd1dd1ddc354372cf4e0f164e5808b722db3fafd"},
		{"AES-CBC, RSA", true, &tls.Config{CipherSuites: []uint16{0xc009, 0xc00a, 0xc013, 0xc014, 0x2f, 0x35}}, "21d21d00021d21d00021d21d21d21dc354372cf4e0f164e5808b722db3fafd"},
		{"AES-GCM, h2", false, &tls.Config{CipherSuites: []uint16{0xc02b, 0xc02f}, NextProtos: []string{"h2"}}, "27d27d27d00000000027d27d27d27db58a358f40e24ff963a3bcdb4d6f6711"},
		{"AES-GCM, h2, RSA", true, &tls.Config{CipherSuites: []uint16{0xc02b, 0xc02f}, NextProtos: []string{"h2"}}, "29d29d00000000000029d29d29d29d809c2e0a3e0a6c92ef61af01b469d79a"},
		{"ChaCha20", false, &tls.Config{CipherSuites: []uint16{0xcca8, 0xcca9}}, "40d40d40d00040d00040d40d40d40dc354372cf4e0f164e5808b722db3fafd"},
		{"a protocol that is not offered", false, &tls.Config{NextProtos: []string{"stratum"}}, strings.Repeat("0", 62)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.config.MaxVersion = tls.VersionTLS12
			tt.config.Certificates = []tls.Certificate{certificate(t, tt.rsa)}
			if got := Hash(ask(t, serve(t, tt.config))); got != tt.want {
				t.Errorf("hash %s, want %s", got, tt.want)
			}
		})
	}
}

// certificate gives one that is self-signed.
func certificate(t *testing.T, useRSA bool) tls.Certificate {
	t.Helper()
	var secret, public any
	if useRSA {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		secret, public = key, &key.PublicKey
	} else {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		secret, public = key, &key.PublicKey
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "pool"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, secret)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: secret}
}

// serve runs a TLS server until the test ends, and gives its address.
func serve(t *testing.T, config *tls.Config) string {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1)) // the handshake, which the client breaks off
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
	return listener.Addr().String()
}

// ask says the ten hellos.
func ask(t *testing.T, addr string) (answers [Hellos]Answer) {
	t.Helper()
	for i, hello := range Hello("127.0.0.1") {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(hello); err != nil {
			t.Fatal(err)
		}
		if answers[i], err = Read(conn); err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return answers
}

// extension gives the bytes of an extension.
func extension(kind uint16, body []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, kind), long(body)...)
}

// serverHelloOf gives a record with a ServerHello; extensions may be nil, which leaves them out.
func serverHelloOf(version, cipher uint16, session int, extensions []byte) []byte {
	body := binary.BigEndian.AppendUint16(nil, version)
	body = append(body, make([]byte, 32)...)
	body = append(body, short(make([]byte, session))...)
	body = append(binary.BigEndian.AppendUint16(body, cipher), 0)
	if extensions != nil {
		body = append(body, long(extensions)...)
	}
	message := append([]byte{serverHello, 0}, long(body)...)
	return append([]byte{recordHandshake, 3, 3}, long(message)...)
}

func TestRead(t *testing.T) {
	alpn := extension(extALPN, long(short([]byte("h2"))))
	whole := serverHelloOf(tls12, 0xc02f, 32, slices.Concat(extension(extRenegotiation, []byte{0}), alpn))
	set := func(at int, value byte) []byte {
		b := slices.Clone(whole)
		b[at] = value
		return b
	}
	answer := Answer{Cipher: 0xc02f, Version: tls12, ALPN: "h2", Extensions: []uint16{extRenegotiation, extALPN}}
	tests := []struct {
		name string
		in   []byte
		want Answer
	}{
		{"a ServerHello", whole, answer},
		{"more behind it", append(slices.Clone(whole), bytes.Repeat([]byte{0xff}, 4*MaxAnswer)...), answer},
		{"another message in its record", func() []byte {
			b := append(slices.Clone(whole), 11, 0, 0, 0)
			binary.BigEndian.PutUint16(b[3:], uint16(len(b)-5))
			return b
		}(), answer},
		{"the first ALPN counts", serverHelloOf(tls12, 1, 0, slices.Concat(alpn, extension(extALPN, long(short([]byte("hq")))))), Answer{Cipher: 1, Version: tls12, ALPN: "h2", Extensions: []uint16{extALPN, extALPN}}},
		{"no extensions", serverHelloOf(tls10, 4, 0, nil), Answer{Cipher: 4, Version: tls10}},
		{"an empty list of extensions", serverHelloOf(tls10, 4, 0, []byte{}), Answer{Cipher: 4, Version: tls10}},
		{"SSL 3.0", serverHelloOf(0x0300, 4, 0, nil), Answer{Cipher: 4, Version: 0x0300}},
		{"nothing", nil, Answer{}},
		{"an alert", []byte{21, 3, 3, 0, 2, 2, 40}, Answer{}},
		{"text", []byte(`{"id":1,"result":true}`), Answer{}},
		{"a ClientHello, our own", Hello("")[0], Answer{}},
		{"no version of TLS", serverHelloOf(0x0203, 4, 0, nil), Answer{}},
		{"a version without a letter", serverHelloOf(0x0306, 4, 0, nil), Answer{}},
		{"a session longer than the message", set(headers+34, 255), Answer{}},
		{"a message longer than its record", set(8, whole[8]+1), Answer{}},
		{"a message beyond the bound", set(7, 0xff), Answer{}},
		{"extensions longer than the message", set(headers+70, 2), Answer{}},
		{"an extension longer than the extensions", set(len(whole)-6, 6), Answer{}},
		{"bytes behind the extensions' last", serverHelloOf(tls12, 4, 0, []byte{0, 1}), Answer{}},
		{"ALPN without a list", serverHelloOf(tls12, 4, 0, extension(extALPN, nil)), Answer{}},
		{"ALPN that is no text", serverHelloOf(tls12, 4, 0, extension(extALPN, []byte{0, 2, 1, 0xff})), Answer{}},
		{"a body without a session", append([]byte{recordHandshake, 3, 3, 0, 38, serverHello, 0, 0, 34}, make([]byte, 34)...), Answer{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for way, r := range map[string]io.Reader{
				"at once": bytes.NewReader(tt.in), "byte by byte": iotest.OneByteReader(bytes.NewReader(tt.in)),
				"with the end": iotest.DataErrReader(bytes.NewReader(tt.in)),
			} {
				got, err := Read(r)
				if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
					t.Errorf("%s: %v\n%s", way, err, diff)
				}
			}
		})
	}
	for n := range whole {
		if got, err := Read(bytes.NewReader(whole[:n])); err != nil || got.given() {
			t.Errorf("of %d bytes: %+v, %v", n, got, err)
		}
	}
}

// counter counts what is read.
type counter struct {
	r io.Reader
	n int
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += n
	return n, err
}

// endless sends its first bytes and then zeros without end.
type endless struct{ first []byte }

func (e *endless) Read(b []byte) (int, error) {
	n := copy(b, e.first)
	e.first = e.first[n:]
	clear(b[n:])
	return len(b), nil
}

// TestReadBounds: of a server that never ends at most MaxAnswer bytes are read, and what went wrong is told.
func TestReadBounds(t *testing.T) {
	for _, first := range [][]byte{nil, {recordHandshake}, {recordHandshake, 3, 3, 0xff, 0xff, serverHello, 0, 5, 0xc3}, {recordHandshake, 3, 3, 0xff, 0xff, serverHello, 0, 5, 0xc4}} {
		c := &counter{r: &endless{first}}
		if _, err := Read(c); err != nil || c.n > MaxAnswer {
			t.Errorf("%x: %d bytes, %v", first, c.n, err)
		}
		c = &counter{r: iotest.OneByteReader(&endless{first})}
		if _, err := Read(c); err != nil || c.n > MaxAnswer {
			t.Errorf("%x, byte by byte: %d bytes, %v", first, c.n, err)
		}
	}
	broken := errors.New("broken")
	if got, err := Read(io.MultiReader(bytes.NewReader([]byte{recordHandshake, 3}), iotest.ErrReader(broken))); !errors.Is(err, broken) || got.given() {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestHash: the quirks.
func TestHash(t *testing.T) {
	one := func(a Answer) (answers [Hellos]Answer) {
		answers[2] = a
		return answers
	}
	empty := hex.EncodeToString(sha256.New().Sum(nil))[:32]
	tests := []struct {
		name    string
		answers [Hellos]Answer
		want    string
	}{
		{"none", [Hellos]Answer{}, strings.Repeat("0", 62)},
		{"the first cipher", one(Answer{Cipher: 4, Version: 0x0300}), "00000001a" + strings.Repeat("0", 21) + empty},
		{"the last cipher", one(Answer{Cipher: 0x1305, Version: tls12}), "00000045d" + strings.Repeat("0", 21) + empty},
		{"an unknown cipher", one(Answer{Cipher: 0xabcd, Version: tls12}), "00000046d" + strings.Repeat("0", 21) + empty},
	}
	for _, tt := range tests {
		if got := Hash(tt.answers); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// TestRoundTrip: what a server chooses is read back, wherever the bytes are cut.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Answer{
			Cipher:  rapid.Uint16().Draw(t, "cipher"),
			Version: rapid.Uint16Range(0x0300, 0x0305).Draw(t, "version"),
		}
		extensions := []byte{}
		for _, kind := range rapid.SliceOfN(rapid.Uint16(), 0, 10).Draw(t, "extensions") {
			body := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "body")
			if kind == extALPN {
				continue
			}
			want.Extensions = append(want.Extensions, kind)
			extensions = append(extensions, extension(kind, body)...)
		}
		if want.ALPN = rapid.StringN(0, 20, 60).Draw(t, "alpn"); want.ALPN != "" {
			want.Extensions = append(want.Extensions, extALPN)
			extensions = append(extensions, extension(extALPN, long(short([]byte(want.ALPN))))...)
		}
		b := serverHelloOf(want.Version, want.Cipher, rapid.IntRange(0, 32).Draw(t, "session"), extensions)
		b = append(b, rapid.SliceOf(rapid.Byte()).Draw(t, "more")...)
		cut := rapid.IntRange(0, len(b)).Draw(t, "cut")
		got, err := Read(io.MultiReader(bytes.NewReader(b[:cut]), bytes.NewReader(b[cut:])))
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Fatalf("%v\n%s", err, diff)
		}
	})
}

// FuzzServerHello: no panic, the same answer however the bytes are cut, at most MaxAnswer of them, and a hash of 62
// characters.
func FuzzServerHello(f *testing.F) {
	for _, r := range recordings(f) {
		for _, text := range r.Answers[:2] {
			b, err := hex.DecodeString(text)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b, uint16(7))
		}
	}
	f.Add(Hello("pool.example.org")[0], uint16(0)) // an echo
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		c := &counter{r: bytes.NewReader(b)}
		got, err := Read(c)
		if err != nil || c.n > MaxAnswer || len(got.ALPN) > MaxAnswer || len(got.Extensions) > MaxAnswer/4 {
			t.Fatalf("%d bytes, %+v, %v", c.n, got, err)
		}
		at := min(int(cut), len(b))
		for _, r := range []io.Reader{iotest.OneByteReader(bytes.NewReader(b)), io.MultiReader(bytes.NewReader(b[:at]), bytes.NewReader(b[at:]))} {
			again, err := Read(r)
			if diff := cmp.Diff(got, again); diff != "" || err != nil {
				t.Fatalf("%v\n%s", err, diff)
			}
		}
		if got.given() && (len(b) < headers || b[0] != recordHandshake || b[5] != serverHello) {
			t.Fatalf("%+v of what is no ServerHello", got)
		}
		hash := Hash([Hellos]Answer{7: got})
		if len(hash) != 62 || strings.Trim(hash, "0123456789abcdef") != "" || (strings.Trim(hash, "0") == "") == got.given() {
			t.Fatalf("hash %q of %+v", hash, got)
		}
	})
}
