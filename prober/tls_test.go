package prober_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	minecanary "github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/prober"
	"github.com/minecanary/minecanary/prober/spar"
)

// TestHostileCertificates: a certificate chain beyond the bound is not read to its end, and no byte of a subject gets
// out unquoted.
func TestHostileCertificates(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		names   int // subject alternative names
		subject string
		answers bool
	}{
		{"odd subject", 1, "pool\n\x1b[31m\u202e\"", true},
		{"1,000 names", 1000, "pool", true},
		{"10,000 names", 10000, "pool", false}, // some 300 KiB
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			template := &x509.Certificate{
				SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: tt.subject},
				NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1, 0), // long expired
			}
			for i := range tt.names {
				template.DNSNames = append(template.DNSNames, fmt.Sprintf("server-%06d.pool.example.org", i))
			}
			der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
			if err != nil {
				t.Fatal(err)
			}
			listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
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
					answer(conn)
				}
			}()
			defer func() {
				_ = listener.Close()
				<-done
			}()
			log := &trail{}
			got := newProber(t, hasty(), log).Probe(t.Context(), endpoint(netip.MustParseAddrPort(listener.Addr().String())), prober.ProbeOptions{TLS: true})
			if (got.Status == minecanary.Confirmed) != tt.answers {
				t.Errorf("got %s: %s\n%s", got.Status, got.Reason, transcripts(got))
			}
			if tt.answers && !strings.Contains(evidence(got), "certificate sha256 ") {
				t.Errorf("evidence %s", evidence(got))
			}
			for _, e := range got.Evidence {
				printable(t, e.Summary, 512)
			}
			for _, talk := range got.Talks {
				if talk.BytesRead > prober.MaxRead {
					t.Errorf("read %d bytes", talk.BytesRead)
				}
			}
		})
	}
}

// answer answers the first request as a pool does, whatever it is.
func answer(conn net.Conn) {
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return
	}
	if _, err := conn.Read(make([]byte, 512)); err != nil {
		return
	}
	_, _ = conn.Write([]byte(`{"id":1,"result":[[["mining.notify","a"]],"4ef7006b",8],"error":null}` + "\n"))
	_, _ = conn.Read(make([]byte, 1)) // until the client is done
}

// TestAlert: a server of TLS answers plain text with an alert, and is then asked over TLS; noise that begins like an alert is
// none.
func TestAlert(t *testing.T) {
	t.Parallel()
	server := start(t, spar.Options{Dialect: "stratum-v1", TLS: spar.Only})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	// The sparring pool closes upon plain text; this one says why, as most servers do, and hands everything else on.
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				first := make([]byte, 4096)
				n, err := conn.Read(first)
				if err != nil {
					return
				}
				if first[0] != 0x16 {
					_, _ = conn.Write([]byte{0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x46})
					return
				}
				behind, err := net.Dial("tcp", server.Addr().String())
				if err != nil {
					return
				}
				defer func() { _ = behind.Close() }()
				if _, err := behind.Write(first[:n]); err != nil {
					return
				}
				go func() { _, _ = io.Copy(behind, conn) }()
				_, _ = io.Copy(conn, behind)
			}()
		}
	}()
	got := newProber(t, loopback(), &trail{}).Probe(t.Context(), endpoint(netip.MustParseAddrPort(listener.Addr().String())), prober.ProbeOptions{})
	if got.Status != minecanary.Confirmed || !got.TLS || got.Connections != 2 {
		t.Errorf("got %s over TLS %v in %d connections, want it confirmed in two: %s", got.Status, got.TLS, got.Connections, got.Reason)
	}
}
