//go:build services

package kafka

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/minecanary/minecanary/internal/stack"
)

// TestLeaderKilled kills the broker that leads most partitions and coordinates the group, or one of both, while
// messages are written and read: every message comes, and no partition stays behind.
func TestLeaderKilled(t *testing.T) {
	svc := stack.Kafka(t, 3)
	noLeaks(t)
	c := Client{Brokers: svc.Addrs}
	top := topic(t, c, 6, nil)
	p := producer(t, c, LZ4)
	var reports sync.Map
	s := connect(t, Config{Client: c, Topics: []string{top}, Group: top, Stall: 5 * time.Second, OnError: func(p string, err error) {
		reports.Store(p+": "+err.Error(), true)
	}})
	g := newGot()
	var wg sync.WaitGroup
	wg.Go(func() { g.readAll(t, s, false) })

	total := 0
	write := func(until func() bool) {
		for !until() {
			m := numbered(top, fmt.Sprint("round", total), 500)
			for i := range m {
				m[i].Key = fmt.Append(nil, i)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
			err := p.Produce(ctx, m)
			cancel()
			if err != nil {
				t.Fatal(err)
			}
			total += len(m)
		}
	}
	for _, broker := range []string{leader(t, c, top), ""} {
		began := time.Now()
		write(func() bool { return time.Since(began) > 2*time.Second })
		if broker == "" {
			broker = coordinator(t, c, top)
		}
		if err := svc.Script(t.Context(), "kill-node", broker); err != nil {
			t.Fatal(err)
		}
		killed := time.Now()
		write(func() bool { return time.Since(killed) > time.Second })
		t.Logf("broker %s killed; writing went on after %s", broker, time.Since(killed).Round(time.Millisecond))
		eventually(t, "all there", func() bool { return g.distinct() == total })
		t.Logf("all read after %s", time.Since(killed).Round(time.Millisecond))
		if took := time.Since(killed); took > 30*time.Second {
			t.Errorf("reading stood still for %s", took)
		}
		if err := svc.Script(t.Context(), "start-node", broker); err != nil {
			t.Fatal(err)
		}
	}
	_ = s.Close()
	wg.Wait()
	reports.Range(func(k, _ any) bool {
		t.Logf("reported: %s", k)
		return true
	})
	sum := int64(0)
	for i := range 6 {
		o := committed(t, c, top, top, i)
		if o > g.next[partitionName(top, i)] {
			t.Errorf("partition %d: %d committed, %d read", i, o, g.next[partitionName(top, i)])
		}
		sum += o
	}
	t.Logf("%d messages, %d handed over, offsets add up to %d", total, g.count(), sum)
}

// leader gives the number of the broker that leads the first partition.
func leader(t *testing.T, c Client, topic string) string {
	t.Helper()
	client := &kafka.Client{Addr: kafka.TCP(c.Brokers...), Transport: &kafka.Transport{}}
	defer client.Transport.(*kafka.Transport).CloseIdleConnections()
	meta, err := client.Metadata(t.Context(), &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil || len(meta.Topics) == 0 || len(meta.Topics[0].Partitions) == 0 {
		t.Fatal(err, meta)
	}
	return strconv.Itoa(meta.Topics[0].Partitions[0].Leader.ID)
}

// coordinator gives the number of the broker that coordinates the group.
func coordinator(t *testing.T, c Client, group string) string {
	t.Helper()
	client := &kafka.Client{Addr: kafka.TCP(c.Brokers...), Transport: &kafka.Transport{}}
	defer client.Transport.(*kafka.Transport).CloseIdleConnections()
	res, err := client.FindCoordinator(t.Context(), &kafka.FindCoordinatorRequest{Key: group, KeyType: kafka.CoordinatorKeyTypeConsumer})
	if err != nil || res.Error != nil {
		t.Fatal(err, res)
	}
	return strconv.Itoa(res.Coordinator.NodeID)
}

// TestOutage stops the only broker for a while: Produce survives it, so does the source, and nothing is lost.
func TestOutage(t *testing.T) {
	svc := stack.Kafka(t, 1)
	noLeaks(t)
	c := Client{Brokers: svc.Addrs}
	top := topic(t, c, 2, nil)
	p := producer(t, c, Zstd)
	s := connect(t, Config{Client: c, Topics: []string{top}, OnError: func(string, error) {}})
	g := newGot()
	produce(t, p, numbered(top, "before", 100))
	g.readN(t, s, 100)
	if err := svc.Script(t.Context(), "kill-node", "1"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- p.Produce(t.Context(), numbered(top, "during", 100)) }()
	short, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := p.Produce(short, numbered(top, "never", 1)); err == nil {
		t.Error("written without a broker")
	}
	select {
	case err := <-done:
		t.Fatalf("Produce returned without a broker: %v", err)
	case <-time.After(8 * time.Second):
	}
	if err := svc.Script(t.Context(), "start-node", "1"); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	t.Logf("written %s after the broker came back", time.Since(back).Round(time.Millisecond))
	var wg sync.WaitGroup
	wg.Go(func() { g.readAll(t, s, false) })
	eventually(t, "all there", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		n := 0
		for v := range g.seen {
			if !strings.HasPrefix(v, "never") {
				n++
			}
		}
		return n == 200
	})
	t.Logf("read %s after the broker came back", time.Since(back).Round(time.Millisecond))
	_ = s.Close()
	wg.Wait()
}

// TestSecurity logs in by every mechanism, with and without TLS, and with the wrong password, name and authority.
func TestSecurity(t *testing.T) {
	const user, password = "canary", "song of \"the\" mine"
	for _, security := range []string{"sasl_plaintext", "sasl_ssl", "ssl"} {
		t.Run(security, func(t *testing.T) {
			certs := t.TempDir()
			t.Setenv("KAFKA_SECURITY", security)
			t.Setenv("KAFKA_USER", user)
			t.Setenv("KAFKA_PASSWORD", strings.ReplaceAll(password, `"`, ""))
			t.Setenv("KAFKA_CERTS", certs)
			var own TLS
			if security == "ssl" {
				own = clientCertificate(t)
				t.Setenv("KAFKA_CLIENT_CA", own.CertFile)
			}
			svc := stack.Kafka(t, 1)
			noLeaks(t)
			base := Client{Brokers: svc.Addrs, DialTimeout: 2 * time.Second}
			if security != "sasl_plaintext" {
				base.TLS = TLS{Enabled: true, CAFile: filepath.Join(certs, "ca.pem"), CertFile: own.CertFile, KeyFile: own.KeyFile}
			}
			mechanisms := []string{SASLPlain, SASLScramSHA256, SASLScramSHA512}
			if security == "ssl" {
				mechanisms = []string{""}
			}
			for _, m := range mechanisms {
				t.Run("mechanism-"+m, func(t *testing.T) {
					c := base
					if m != "" {
						c.SASL = SASL{m, user, strings.ReplaceAll(password, `"`, "")}
					}
					top := topic(t, c, 1, nil)
					produce(t, producer(t, c, LZ4), numbered(top, "a", 100))
					s := connect(t, Config{Client: c, Topics: []string{top}})
					g := newGot()
					g.readN(t, s, 100)
					if g.distinct() != 100 {
						t.Errorf("%d messages", g.distinct())
					}
				})
			}
			for name, change := range map[string]func(*Client){
				"password":    func(c *Client) { c.SASL = SASL{SASLScramSHA256, user, "wrong secret"} },
				"plain":       func(c *Client) { c.SASL = SASL{SASLPlain, user, "wrong secret"} },
				"user":        func(c *Client) { c.SASL = SASL{SASLScramSHA512, "nobody", "wrong secret"} },
				"authority":   func(c *Client) { c.TLS.CAFile = "" },
				"name":        func(c *Client) { c.TLS.ServerName = "other.example" },
				"certificate": func(c *Client) { c.TLS.CertFile, c.TLS.KeyFile = "", "" },
			} {
				if strings.HasPrefix(security, "sasl") == (name == "certificate") || !strings.HasSuffix(security, "ssl") && (name == "authority" || name == "name") ||
					security == "ssl" && (name == "password" || name == "plain" || name == "user") {
					continue
				}
				t.Run("wrong-"+name, func(t *testing.T) {
					c := base
					if security != "ssl" {
						c.SASL = SASL{SASLPlain, user, strings.ReplaceAll(password, `"`, "")}
					}
					change(&c)
					ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
					defer cancel()
					err := NewProducer(ProducerConfig{Client: c}).produceOnce(ctx, t)
					var refused *ProduceError
					if err == nil || errors.As(err, &refused) {
						t.Fatalf("error %v", err)
					}
					var mu sync.Mutex
					reported := ""
					s := connect(t, Config{Client: c, Topics: []string{"x"}, OnError: func(_ string, err error) {
						mu.Lock()
						defer mu.Unlock()
						reported = err.Error()
					}})
					eventually(t, "reported", func() bool { mu.Lock(); defer mu.Unlock(); return reported != "" })
					mu.Lock()
					defer mu.Unlock()
					if s.Ready() {
						t.Error("ready")
					}
					for _, text := range []string{err.Error(), reported} {
						if strings.Contains(text, "secret") || strings.Contains(text, "song") {
							t.Errorf("the error tells the password: %s", text)
						}
					}
					t.Logf("%v; %s", err, reported)
				})
			}
		})
	}
}

// produceOnce writes one message and closes.
func (p *Producer) produceOnce(ctx context.Context, t *testing.T) error {
	t.Helper()
	defer func() { _ = p.Close() }()
	return p.Produce(ctx, []Message{{Topic: "x", Value: []byte("x")}})
}

// clientCertificate makes a key and a self-signed certificate.
func clientCertificate(t *testing.T) TLS {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "minecanary"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files := TLS{CertFile: filepath.Join(dir, "client.pem"), KeyFile: filepath.Join(dir, "client.key")}
	for path, block := range map[string]*pem.Block{
		files.CertFile: {Type: "CERTIFICATE", Bytes: cert}, files.KeyFile: {Type: "PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return files
}
