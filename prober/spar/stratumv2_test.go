package spar_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/minecanary/minecanary/prober/noise"
	"github.com/minecanary/minecanary/prober/spar"
)

// dial starts a server and connects to it.
func dial(t *testing.T, opts spar.Options) (*spar.Server, net.Conn) {
	t.Helper()
	opts.Addr = "127.0.0.1:0"
	s, err := spar.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	conn, err := net.DialTimeout("tcp", s.Addr().String(), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return s, conn
}

// TestStratumV2 makes a handshake with a verified certificate and says one message.
func TestStratumV2(t *testing.T) {
	mining := []byte("\x00\x02\x00\x02\x00\x00\x00\x00\x00\x09127.0.0.1\xce\x85\x05probe\x010\x010\x00")
	version3 := bytes.Clone(mining)
	version3[1], version3[3] = 3, 3
	tests := []struct {
		name, dialect string
		say, want     noise.Frame
		ends          bool // the connection ends then
	}{
		{"mining", "stratum-v2", noise.Frame{Payload: mining}, noise.Frame{Type: 1, Payload: []byte{2, 0, 0, 0, 0, 0}}, false},
		{
			"job declaration", "stratum-v2",
			noise.Frame{Payload: append([]byte{1}, mining[1:]...)},
			noise.Frame{Type: 2, Payload: []byte("\x00\x00\x00\x00\x14unsupported-protocol")},
			true,
		},
		{
			"another version", "stratum-v2",
			noise.Frame{Payload: version3},
			noise.Frame{Type: 2, Payload: []byte("\x00\x00\x00\x00\x19protocol-version-mismatch")},
			true,
		},
		{
			"mining", "template-provider",
			noise.Frame{Payload: mining},
			noise.Frame{Type: 2, Payload: []byte("\x00\x00\x00\x00\x14unsupported-protocol")},
			true,
		},
		{
			"templates", "template-provider",
			noise.Frame{Payload: append([]byte{2}, mining[1:]...)},
			noise.Frame{Type: 1, Payload: []byte{2, 0, 0, 0, 0, 0}},
			false,
		},
		{"a channel before the connection", "stratum-v2", noise.Frame{Type: 0x10, Payload: mining}, noise.Frame{}, true},
	}
	for _, tt := range tests {
		t.Run(tt.dialect+"/"+tt.name, func(t *testing.T) {
			s, conn := dial(t, spar.Options{Dialect: tt.dialect, Segments: 3})
			i, err := noise.NewInitiator()
			if err != nil {
				t.Fatal(err)
			}
			act1 := i.Act1()
			if _, err := conn.Write(act1[:]); err != nil {
				t.Fatal(err)
			}
			var act2 [noise.Act2Size]byte
			if _, err := io.ReadFull(conn, act2[:]); err != nil {
				t.Fatal(err)
			}
			transport, certificate, err := i.Finish(act2)
			if err != nil {
				t.Fatal(err)
			}
			key, err := spar.AuthorityKey()
			if err != nil {
				t.Fatal(err)
			}
			if err := certificate.Verify(key); err != nil {
				t.Errorf("Verify = %v", err)
			}
			sealed, err := transport.Seal(tt.say)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write(sealed); err != nil {
				t.Fatal(err)
			}
			if tt.want.Payload != nil {
				buf := make([]byte, 2*noise.TagSize+noise.HeaderSize+len(tt.want.Payload))
				if _, err := io.ReadFull(conn, buf); err != nil {
					t.Fatal(err)
				}
				transport.Take(buf)
				got, ok, err := transport.Next()
				if err != nil || !ok || got.Type != tt.want.Type || !bytes.Equal(got.Payload, tt.want.Payload) {
					t.Errorf("Next = %+v, %v, %v; want %+v", got, ok, err, tt.want)
				}
			}
			if !tt.ends {
				if err := conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
					t.Fatal(err)
				}
			}
			_, err = conn.Read(make([]byte, 1))
			if waits := errors.Is(err, os.ErrDeadlineExceeded); err == nil || waits == tt.ends {
				t.Errorf("then %v; want the end %v", err, tt.ends)
			}
			if len(s.Methods()) != 1 {
				t.Errorf("Methods = %v", s.Methods())
			}
		})
	}
}

// TestAct2: 64 bytes of anything draw 234, fewer draw nothing, as it was recorded of the reference implementation's pool.
func TestAct2(t *testing.T) {
	subscribe := `{"id": 1, "method": "mining.subscribe", "params": ["cgminer/4.11.1"]}` + "\n"
	for _, name := range []string{"stratum-v2", "template-provider", "random-234"} {
		for _, tt := range []struct {
			say  string
			want int
		}{{subscribe, noise.Act2Size}, {strings.Repeat("\x00", 64), noise.Act2Size}, {strings.Repeat("\xff", 63), 0}} {
			_, conn := dial(t, spar.Options{Dialect: name})
			if _, err := conn.Write([]byte(tt.say)); err != nil {
				t.Fatal(err)
			}
			if n, err := io.ReadFull(conn, make([]byte, tt.want)); err != nil {
				t.Errorf("%s: %d bytes, %v; want %d", name, n, err, tt.want)
			}
			if err := conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			if n, err := conn.Read(make([]byte, 1)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: %d bytes more, %v", name, n, err)
			}
		}
	}
}
