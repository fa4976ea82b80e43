package kafka

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestValidate(t *testing.T) {
	ok := Client{Brokers: []string{"kafka:9092"}}
	for _, tt := range []struct {
		name   string
		change func(*Client)
		want   string // part of the error, "" for none
	}{
		{"minimal", func(*Client) {}, ""},
		{"ipv6", func(c *Client) { c.Brokers = []string{"[::1]:9092"} }, ""},
		{"none", func(c *Client) { c.Brokers = nil }, "no brokers"},
		{"no port", func(c *Client) { c.Brokers = []string{"kafka"} }, `"kafka" is not host:port`},
		{"no host", func(c *Client) { c.Brokers = []string{":9092"} }, "is not host:port"},
		{"port 0", func(c *Client) { c.Brokers = []string{"kafka:0"} }, "no valid port"},
		{"port too high", func(c *Client) { c.Brokers = []string{"kafka:65536"} }, "no valid port"},
		{"half a key pair", func(c *Client) { c.TLS = TLS{Enabled: true, CertFile: "a"} }, "both a certificate and a key"},
		{"tls off", func(c *Client) { c.TLS.CAFile = "a" }, "tls is not enabled"},
		{"mechanism", func(c *Client) { c.SASL = SASL{"gssapi", "u", "secret"} }, `"gssapi" is none of`},
		{"no password", func(c *Client) { c.SASL = SASL{SASLPlain, "u", ""} }, "needs a user and a password"},
		{"no mechanism", func(c *Client) { c.SASL = SASL{"", "u", "secret"} }, "without a mechanism"},
		{"scram", func(c *Client) { c.SASL = SASL{SASLScramSHA512, "u", "secret"} }, ""},
		{"timeout", func(c *Client) { c.DialTimeout = -time.Second }, "negative"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := ok
			tt.change(&c)
			err := c.Validate()
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error tells the secret: %v", err)
			}
		})
	}
}

func TestConfigValidate(t *testing.T) {
	ok := Config{Client: Client{Brokers: []string{"kafka:9092"}}, Topics: []string{"conn"}, Group: "g"}
	for _, tt := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"minimal", func(*Config) {}, ""},
		{"client", func(c *Config) { c.Client.Brokers = nil }, "no brokers"},
		{"no topics", func(c *Config) { c.Topics = nil }, "no topics"},
		{"topic", func(c *Config) { c.Topics = []string{"a b"} }, "no valid topic name"},
		{"long topic", func(c *Config) { c.Topics = []string{strings.Repeat("a", 250)} }, "no valid topic name"},
		{"dots", func(c *Config) { c.Topics = []string{".."} }, "no valid topic name"},
		{"no group", func(c *Config) { c.Group = "" }, "no name"},
		{"from", func(c *Config) { c.From = "middle" }, "neither"},
		{"negative", func(c *Config) { c.BatchBytes = -1 }, "batch bytes is negative"},
		{"min over max", func(c *Config) { c.MinBytes = 2 << 20 }, "over max bytes"},
		{"max", func(c *Config) { c.MaxBytes = maxFetch + 1 }, "is over"},
		{"wait", func(c *Config) { c.MaxWait = idleTimeout }, "is not below"},
		{"heartbeat", func(c *Config) { c.HeartbeatInterval = 5 * time.Second }, "third of the session"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := ok
			tt.change(&c)
			err := c.Validate()
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if s := New(c); err != nil && s.Connect(t.Context()) == nil {
				t.Error("Connect takes it")
			}
		})
	}
}

// TestSecretsStayHidden prints a configuration in every way that logs and errors use.
func TestSecretsStayHidden(t *testing.T) {
	const secret = "correct horse"
	c := Client{Brokers: []string{"b:1"}, SASL: SASL{SASLPlain, "canary", secret}}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", slog.Any("client", c), slog.Any("sasl", c.SASL))
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", slog.Any("client", c), slog.Any("config", Config{Client: c}))
	for _, s := range []string{
		fmt.Sprint(c), fmt.Sprintf("%v %+v %#v %s", c, c, c, c), fmt.Sprintf("%+v %#v", &c, &c),
		fmt.Sprintf("%+v %#v", c.SASL, c.SASL), fmt.Sprintf("%+v", Config{Client: c}), fmt.Sprintf("%#v", Config{Client: c}.Client),
		log.String(),
	} {
		if strings.Contains(s, secret) || !strings.Contains(s, "canary") {
			t.Error(s)
		}
	}
	if b, err := json.Marshal(c); err != nil || strings.Contains(string(b), secret) {
		t.Errorf("%s %v", b, err)
	}
	// SCRAM refuses a control character; the library quotes the whole text.
	c.SASL = SASL{SASLScramSHA256, "canary", secret + "\u0007"}
	if _, err := newNetwork(c); err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("error %v", err)
	}
}

func TestTLSFiles(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		tls  TLS
		want string
	}{
		{"no such file", TLS{Enabled: true, CAFile: empty + "x"}, "read the authorities"},
		{"no certificate", TLS{Enabled: true, CAFile: empty}, "holds no certificate"},
		{"no key pair", TLS{Enabled: true, CertFile: empty, KeyFile: empty}, "client certificate"},
		{"system", TLS{Enabled: true}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := newNetwork(Client{Brokers: []string{"b:1"}, TLS: tt.tls})
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
