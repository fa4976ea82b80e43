package watch

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"strings"
	"time"
)

const (
	mailTimeout = 30 * time.Second // one delivery, with all of its dialogue
	// MaxRecipients is how many addresses a mail goes to.
	MaxRecipients = 20

	maxDialogue = 1 << 20 // bytes that a server may say
)

// boundedConn ends after so many bytes were read: net/smtp reads lines of any length.
type boundedConn struct {
	net.Conn
	left int
}

// Read reads until the bound.
func (c *boundedConn) Read(b []byte) (int, error) {
	if c.left <= 0 {
		return 0, fmt.Errorf("the server says more than %d bytes: %w", maxDialogue, ErrPermanent)
	}
	n, err := c.Conn.Read(b[:min(len(b), c.left)])
	c.left -= n
	return n, err
}

// Security is how the connection to a mail server is protected.
type Security string

// The ways: TLS by the STARTTLS command, which must be there (RFC 3207); TLS from the first byte (RFC 8314); and none, for a
// server on this host.
const (
	StartTLS    Security = "starttls"
	ImplicitTLS Security = "tls"
	Plain       Security = "none"
)

// MailOptions are what a Mail is made of.
type MailOptions struct {
	// Server is host:port.
	Server string
	// Security is StartTLS if empty.
	Security Security
	// User and Password log in, by AUTH PLAIN (RFC 4616), which is never sent in plain text but to this host; "" for not.
	User, Password string
	// From is an address, To one to MaxRecipients, both as of RFC 5322: "Name <local@domain>" or bare.
	From string
	To   []string
	// TLS is for certificates of one's own; nil for the system's.
	TLS *tls.Config
}

// Mail sends events by e-mail.
type Mail struct {
	o     MailOptions
	host  string
	from  *mail.Address
	to    []*mail.Address
	clock func() time.Time
}

// NewMail checks the options; nothing is sent.
func NewMail(o MailOptions) (*Mail, error) {
	host, port, err := net.SplitHostPort(o.Server)
	if err != nil || host == "" || port == "" {
		return nil, fmt.Errorf("mail: server %q is no host:port", o.Server)
	}
	if o.Security == "" {
		o.Security = StartTLS
	}
	if o.Security != StartTLS && o.Security != ImplicitTLS && o.Security != Plain {
		return nil, fmt.Errorf("mail: security %q is none of starttls, tls and none", o.Security)
	}
	if o.User != "" && o.Security == Plain && host != "localhost" && host != "127.0.0.1" && host != "::1" {
		return nil, errors.New("mail: a password is not sent without TLS")
	}
	m := &Mail{o: o, host: host, clock: time.Now}
	if m.from, err = address(o.From); err != nil {
		return nil, fmt.Errorf("mail: from: %w", err)
	}
	if len(o.To) == 0 || len(o.To) > MaxRecipients {
		return nil, fmt.Errorf("mail: %d recipients; there must be 1 to %d", len(o.To), MaxRecipients)
	}
	for _, to := range o.To {
		a, err := address(to)
		if err != nil {
			return nil, fmt.Errorf("mail: to: %w", err)
		}
		m.to = append(m.to, a)
	}
	return m, nil
}

// address reads a mail address. One that would need SMTPUTF8 or that has control characters in quotes is refused.
func address(s string) (*mail.Address, error) {
	a, err := mail.ParseAddress(s)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", s, err)
	}
	if strings.ContainsFunc(a.Address, func(r rune) bool { return r <= ' ' || r > '~' || r == '<' || r == '>' }) {
		return nil, fmt.Errorf("%q: only printable ASCII is taken", s)
	}
	return a, nil
}

// Name is "mail".
func (m *Mail) Name() string { return "mail" }

// Notify sends one mail. What the server refuses for good (5yz, RFC 5321 section 4.2.1) is permanent.
func (m *Mail) Notify(ctx context.Context, e Event) error {
	err := m.send(ctx, e)
	if err == nil {
		return nil
	}
	const refusedForGood = 500
	if answer, ok := errors.AsType[*textproto.Error](err); ok && answer.Code >= refusedForGood {
		return fmt.Errorf("mail: %w: %w", err, ErrPermanent)
	}
	return fmt.Errorf("mail: %w", err)
}

func (m *Mail) send(ctx context.Context, e Event) (err error) {
	ctx, cancel := context.WithTimeout(ctx, mailTimeout)
	defer cancel()
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if m.o.TLS != nil {
		conf = m.o.TLS.Clone()
	}
	if conf.ServerName == "" {
		conf.ServerName = m.host
	}
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", m.o.Server)
	if err != nil {
		return err
	}
	// net/smtp knows no context: its end closes the connection.
	defer context.AfterFunc(ctx, func() { _ = raw.Close() })()
	var conn net.Conn = &boundedConn{Conn: raw, left: maxDialogue}
	if m.o.Security == ImplicitTLS {
		conn = tls.Client(conn, conf)
	}
	c, err := smtp.NewClient(conn, m.host)
	if err != nil {
		_ = conn.Close()
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.Hello("localhost"); err != nil {
		return err
	}
	if m.o.Security == StartTLS {
		if has, _ := c.Extension("STARTTLS"); !has {
			return fmt.Errorf("the server has no STARTTLS: %w", ErrPermanent)
		}
		if err := c.StartTLS(conf); err != nil {
			return err
		}
	}
	if m.o.User != "" {
		if err := c.Auth(smtp.PlainAuth("", m.o.User, m.o.Password, m.host)); err != nil {
			return err
		}
	}
	if err := c.Mail(m.from.Address); err != nil {
		return err
	}
	for _, to := range m.to {
		if err := c.Rcpt(to.Address); err != nil {
			return err
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	text, err := m.message(e)
	if err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	// The server has taken the mail; how it says good-bye does not matter.
	_ = c.Quit()
	return nil
}

// message writes the mail (RFC 5322). Only the subject has words of others; encoded or not it is one line.
func (m *Mail) message(e Event) ([]byte, error) {
	var to []string
	for _, a := range m.to {
		to = append(to, a.String())
	}
	subject := "watched wallet " + short(e.Wallet) + " seen"
	if e.Label != "" {
		subject += ": " + oneLine(e.Label)
	}
	var b bytes.Buffer
	for _, h := range [][2]string{
		{"From", m.from.String()},
		{"To", strings.Join(to, ",\r\n ")},
		{"Subject", mime.QEncoding.Encode("utf-8", subject)},
		{"Date", m.clock().Format(time.RFC1123Z)},
		{"Message-ID", "<" + oneLine(e.ID) + "@minecanary.invalid>"},
		{"Auto-Submitted", "auto-generated"}, // RFC 3834
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "quoted-printable"},
	} {
		b.WriteString(h[0] + ": " + h[1] + "\r\n")
	}
	b.WriteString("\r\n")
	body := quotedprintable.NewWriter(&b)
	for _, line := range [][2]string{
		{"Wallet", e.Wallet},
		{"Coin", strings.Join(e.Coins, " or ")},
		{"Label", e.Label},
		{"Note", e.Note},
		{"Client", e.Client},
		{"Server", e.Server},
		{"Worker", e.Worker},
		{"Agent", e.Agent},
		{"Sensor", e.Source},
		{"Time", e.Time.Format(time.RFC3339)},
		{"Event", e.ID},
	} {
		if line[1] == "" {
			continue
		}
		if _, err := body.Write([]byte(line[0] + ": " + oneLine(line[1]) + "\r\n")); err != nil {
			return nil, err
		}
	}
	if err := body.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// short leaves a wallet's beginning and end, enough to know it again in a list of mails.
func short(wallet string) string {
	const keep = 8
	wallet = oneLine(wallet)
	if len(wallet) <= 2*keep {
		return wallet
	}
	return wallet[:keep] + "..." + wallet[len(wallet)-keep:]
}

// oneLine takes out control characters.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 {
			return -1
		}
		return r
	}, s)
}
