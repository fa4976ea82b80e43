// Package kafka reads topics as a consumer.Source, writes messages, and creates topics. It is the only package that
// knows kafka-go.
//
// Of kafka-go it uses the consumer group by generations, the connection to a partition's leader (fast reading), the
// client for single requests (produce, offsets, metadata, and the slow way of reading what the fast one cannot), and
// nothing of its Reader and Writer: the group Reader may go back to offsets that were committed, and stall.
//
// Transactions: records of aborted transactions are handed over like others; kafka-go's fast way does not know them.
// The markers that end transactions are left out.
package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

// DefaultDialTimeout bounds one connection attempt, with TLS and log-in.
const DefaultDialTimeout = 5 * time.Second

// idleTimeout is how long a connection may stay silent while an answer is waited for. It bounds what kafka-go leaves
// unbounded (log-in, metadata), and is long enough for the long poll of a fetch. Joining a group takes longer.
const idleTimeout = 10 * time.Second

// SASL mechanisms, as Client.SASL names them.
const (
	SASLPlain       = "plain"
	SASLScramSHA256 = "scram-sha-256"
	SASLScramSHA512 = "scram-sha-512"
)

// TLS says how connections are encrypted. Files hold PEM.
type TLS struct {
	Enabled bool
	// CAFile holds the authorities that the brokers' certificates are checked against; "" means the system's.
	CAFile string
	// CertFile and KeyFile are the client's certificate and key, both or none.
	CertFile, KeyFile string
	// ServerName is the name that the certificates must bear; "" means the host of each broker's address.
	ServerName string
	// InsecureSkipVerify switches the check of certificates off.
	InsecureSkipVerify bool
}

// SASL says how to log in. Its text forms never show the password.
type SASL struct {
	// Mechanism is "plain", "scram-sha-256" or "scram-sha-512"; "" means no log-in.
	Mechanism string
	User      string
	Password  string `json:"-"`
}

// String gives mechanism and user.
func (s SASL) String() string {
	if s.Mechanism == "" {
		return "none"
	}
	return s.Mechanism + " as " + strconv.Quote(s.User)
}

// GoString hides the password from %#v.
func (s SASL) GoString() string { return s.String() }

// LogValue implements slog.LogValuer.
func (s SASL) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Client says how to reach the brokers.
type Client struct {
	// Brokers are addresses host:port to begin with; the cluster tells the others.
	Brokers []string
	// ClientID names this process to the brokers (quotas, their logs); "" means "minecanary".
	ClientID string
	TLS      TLS
	SASL     SASL
	// DialTimeout bounds one connection attempt; 0 means DefaultDialTimeout.
	DialTimeout time.Duration
}

// String gives the brokers and how they are reached, without secrets.
func (c Client) String() string {
	s := strings.Join(c.Brokers, ",")
	if c.TLS.Enabled {
		s += " tls"
	}
	if c.SASL.Mechanism != "" {
		s += " sasl " + c.SASL.String()
	}
	return s
}

// GoString hides the password from %#v.
func (c Client) GoString() string { return c.String() }

// LogValue implements slog.LogValuer.
func (c Client) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Validate tells everything that is wrong with the configuration, without looking at files or the network. The errors
// hold no secret.
func (c Client) Validate() error {
	var errs []error
	if len(c.Brokers) == 0 {
		errs = append(errs, errors.New("kafka: no brokers"))
	}
	for _, b := range c.Brokers {
		host, port, err := net.SplitHostPort(b)
		if err != nil || host == "" {
			errs = append(errs, fmt.Errorf("kafka: broker %q is not host:port", b))
			continue
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			errs = append(errs, fmt.Errorf("kafka: broker %q has no valid port", b))
		}
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		errs = append(errs, errors.New("kafka: tls needs both a certificate and a key file, or none"))
	}
	if !c.TLS.Enabled && (c.TLS.CAFile != "" || c.TLS.CertFile != "" || c.TLS.KeyFile != "" || c.TLS.ServerName != "") {
		errs = append(errs, errors.New("kafka: tls settings are given but tls is not enabled"))
	}
	switch c.SASL.Mechanism {
	case "":
		if c.SASL.User != "" || c.SASL.Password != "" {
			errs = append(errs, errors.New("kafka: sasl user or password without a mechanism"))
		}
	case SASLPlain, SASLScramSHA256, SASLScramSHA512:
		if c.SASL.User == "" || c.SASL.Password == "" {
			errs = append(errs, errors.New("kafka: sasl needs a user and a password"))
		}
	default:
		errs = append(errs, fmt.Errorf("kafka: sasl mechanism %q is none of %s, %s, %s",
			c.SASL.Mechanism, SASLPlain, SASLScramSHA256, SASLScramSHA512))
	}
	if c.DialTimeout < 0 {
		errs = append(errs, fmt.Errorf("kafka: dial timeout %s is negative", c.DialTimeout))
	}
	return errors.Join(errs...)
}

func (c Client) clientID() string {
	if c.ClientID == "" {
		return "minecanary"
	}
	return c.ClientID
}

func (c Client) dialTimeout() time.Duration {
	if c.DialTimeout == 0 {
		return DefaultDialTimeout
	}
	return c.DialTimeout
}

// tlsConfig reads the files; nil if TLS is off.
func (c Client) tlsConfig() (*tls.Config, error) {
	if !c.TLS.Enabled {
		return nil, nil
	}
	cfg := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         c.TLS.ServerName,
		InsecureSkipVerify: c.TLS.InsecureSkipVerify, //nolint:gosec // the user asked for it
	}
	if c.TLS.CAFile != "" {
		pem, err := os.ReadFile(c.TLS.CAFile)
		if err != nil {
			return nil, fmt.Errorf("kafka: read the authorities: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("kafka: %s holds no certificate", c.TLS.CAFile)
		}
	}
	if c.TLS.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(c.TLS.CertFile, c.TLS.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("kafka: load the client certificate: %w", err)
		}
		cfg.Certificates = []tls.Certificate{cert}
	}
	return cfg, nil
}

// mechanism is nil without log-in.
func (c Client) mechanism() (sasl.Mechanism, error) {
	var algo scram.Algorithm
	switch c.SASL.Mechanism {
	case SASLPlain:
		return plain.Mechanism{Username: c.SASL.User, Password: c.SASL.Password}, nil
	case SASLScramSHA256:
		algo = scram.SHA256
	case SASLScramSHA512:
		algo = scram.SHA512
	default:
		return nil, nil
	}
	m, err := scram.Mechanism(algo, c.SASL.User, c.SASL.Password)
	if err != nil {
		// The library's text may quote what it could not prepare.
		return nil, errors.New("kafka: the sasl user or password holds characters that SCRAM forbids (RFC 4013)")
	}
	return m, nil
}

// network opens and knows all connections of one owner, so that they can be cut at once.
type network struct {
	client Client
	tls    *tls.Config
	sasl   sasl.Mechanism
	conns  connSet
}

func newNetwork(c Client) (*network, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	tlsConfig, err := c.tlsConfig()
	if err != nil {
		return nil, err
	}
	mechanism, err := c.mechanism()
	if err != nil {
		return nil, err
	}
	return &network{client: c, tls: tlsConfig, sasl: mechanism}, nil
}

// dial connects and encrypts. A read that waits longer than idle fails, and so does one of an answer over limit bytes,
// if that is not 0.
func (n *network) dial(ctx context.Context, address string, idle time.Duration, limit int) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, n.client.dialTimeout())
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if n.tls != nil {
		cfg := n.tls
		if cfg.ServerName == "" {
			host, _, err := net.SplitHostPort(address)
			if err != nil {
				return nil, errors.Join(err, raw.Close())
			}
			cfg = cfg.Clone()
			cfg.ServerName = host
		}
		secured := tls.Client(raw, cfg)
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("tls handshake with %s: %w", address, err), raw.Close())
		}
		raw = secured
	}
	return n.conns.add(raw, idle, limit)
}

// dialer gives kafka-go's dialer of single connections; see dial.
func (n *network) dialer(idle time.Duration, limit int) *kafka.Dialer {
	return &kafka.Dialer{
		ClientID: n.client.clientID(),
		// Twice: the connection, then the log-in.
		Timeout:       2 * n.client.dialTimeout(),
		SASLMechanism: n.sasl,
		DialFunc: func(ctx context.Context, _, address string) (net.Conn, error) {
			return n.dial(ctx, address, idle, limit)
		},
	}
}

// kafkaClient gives a client for single requests; its close function ends what runs behind it. topics limits what it
// asks the cluster about; none means everything.
func (n *network) kafkaClient(refresh time.Duration, topics ...string) (*kafka.Client, func()) {
	transport := &kafka.Transport{
		Dial: func(ctx context.Context, _, address string) (net.Conn, error) {
			// Answers to produce requests may take as long as the request says.
			return n.dial(ctx, address, requestTimeout+idleTimeout, 0)
		},
		DialTimeout:    2 * n.client.dialTimeout(),
		ClientID:       n.client.clientID(),
		SASL:           n.sasl,
		MetadataTTL:    refresh,
		MetadataTopics: topics,
	}
	return &kafka.Client{Addr: kafka.TCP(n.client.Brokers...), Transport: transport}, transport.CloseIdleConnections
}
