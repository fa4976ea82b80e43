package watch_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/http/httptest"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary/intel/watch"
)

// mailServer is a small SMTP server (RFC 5321) that keeps what it gets.
type mailServer struct {
	address string
	tls     *tls.Config // nil for no STARTTLS
	answers map[string]string

	mu    sync.Mutex
	said  []string
	mails []string
}

func newMailServer(t *testing.T, conf *tls.Config, implicit bool, answers map[string]string) *mailServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &mailServer{address: l.Addr().String(), tls: conf, answers: answers}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				if implicit {
					conn = tls.Server(conn, conf)
				}
				s.serve(conn)
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	return s
}

func (s *mailServer) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	r := bufio.NewReader(conn)
	say := func(text string) bool { _, err := io.WriteString(conn, text+"\r\n"); return err == nil }
	if !say("220 test") {
		return
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		s.mu.Lock()
		s.said = append(s.said, line)
		s.mu.Unlock()
		word, _, _ := strings.Cut(line, " ")
		word, _, _ = strings.Cut(strings.ToUpper(word), ":")
		if answer, ok := s.answers[word]; ok {
			if !say(answer) {
				return
			}
			continue
		}
		switch word {
		case "EHLO":
			_, secure := conn.(*tls.Conn)
			if s.tls != nil && !secure {
				say("250-test\r\n250 STARTTLS")
			} else {
				say("250-test\r\n250 AUTH PLAIN")
			}
		case "STARTTLS":
			say("220 go")
			conn = tls.Server(conn, s.tls)
			r = bufio.NewReader(conn)
		case "AUTH":
			say("235 ok")
		case "MAIL", "RCPT":
			say("250 ok")
		case "DATA":
			say("354 go")
			var text strings.Builder
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				text.WriteString(strings.TrimPrefix(line, "."))
			}
			s.mu.Lock()
			s.mails = append(s.mails, text.String())
			s.mu.Unlock()
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("500 what?")
		}
	}
}

// certificate gives the two ends of TLS for 127.0.0.1.
func certificate(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	web := httptest.NewTLSServer(nil)
	defer web.Close()
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate())
	return &tls.Config{Certificates: web.TLS.Certificates}, &tls.Config{RootCAs: roots}
}

func TestMail(t *testing.T) {
	serverTLS, clientTLS := certificate(t)
	tests := []struct {
		name     string
		security watch.Security
		auth     bool
	}{
		{"STARTTLS", "", true},
		{"TLS", watch.ImplicitTLS, true},
		{"plain", watch.Plain, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conf := serverTLS
			if tt.security == watch.Plain {
				conf = nil
			}
			s := newMailServer(t, conf, tt.security == watch.ImplicitTLS, nil)
			o := watch.MailOptions{Server: s.address, Security: tt.security, From: "Die Wächter <canary@example.net>", To: []string{"desk@example.net", "Second <second@example.net>"}, TLS: clientTLS}
			if tt.auth {
				o.User, o.Password = "canary", "geheim"
			}
			m, err := watch.NewMail(o)
			if err != nil {
				t.Fatal(err)
			}
			e := event
			e.Label, e.Note, e.Worker = "Fall 17: Müller", "Zeile\r\n.\r\nQUIT\u2028x", ".\r\nBcc: x@example.org"
			if err := m.Notify(t.Context(), e); err != nil {
				t.Fatal(err)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if len(s.mails) != 1 {
				t.Fatalf("%d mails", len(s.mails))
			}
			want := []string{"EHLO localhost", "MAIL FROM:<canary@example.net>", "RCPT TO:<desk@example.net>", "RCPT TO:<second@example.net>", "DATA", "QUIT"}
			if tt.auth {
				want = append([]string{want[0], "AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00canary\x00geheim"))}, want[1:]...)
			}
			if tt.name == "STARTTLS" {
				want = append([]string{want[0], "STARTTLS"}, want...)
			}
			if diff := cmp.Diff(want, s.said); diff != "" {
				t.Error(diff)
			}
			checkMail(t, s.mails[0])
		})
	}
}

func checkMail(t *testing.T, text string) {
	t.Helper()
	for line := range strings.SplitSeq(text, "\r\n") {
		if len(line) > 998 || strings.ContainsAny(line, "\r\n") {
			t.Errorf("a line of %d bytes: %q", len(line), line)
		}
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r > '~' }) {
		t.Error("the mail is not ASCII")
	}
	got, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{"From": true, "To": true, "Subject": true, "Date": true, "Message-Id": true, "Auto-Submitted": true, "Mime-Version": true, "Content-Type": true, "Content-Transfer-Encoding": true}
	for name, values := range got.Header {
		if !names[name] || len(values) != 1 {
			t.Errorf("header %s: %q", name, values)
		}
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(got.Header.Get("Subject"))
	if err != nil || subject != "watched wallet 1A1zP1eP...v7DivfNa seen: Fall 17: Müller" {
		t.Errorf("subject is %q, %v", subject, err)
	}
	from, err := got.Header.AddressList("From")
	if err != nil || from[0].Name != "Die Wächter" {
		t.Errorf("from is %v, %v", from, err)
	}
	if to, err := got.Header.AddressList("To"); err != nil || len(to) != 2 {
		t.Errorf("to is %v, %v", to, err)
	}
	body, err := io.ReadAll(quotedprintable.NewReader(got.Body))
	const want = "Wallet: " + btc + "\r\nCoin: BTC\r\nLabel: Fall 17: Müller\r\nNote: Zeile.QUITx\r\nClient: 10.0.0.1\r\nServer: 203.0.113.7:3333\r\nWorker: .Bcc: x@example.org\r\nTime: 2026-11-21T04:00:00Z\r\nEvent: 0123456789abcdef0123456789abcdef\r\n"
	if diff := cmp.Diff(want, string(body)); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestMailFails(t *testing.T) {
	serverTLS, clientTLS := certificate(t)
	tests := []struct {
		name      string
		server    *tls.Config
		client    *tls.Config
		answers   map[string]string
		permanent bool
	}{
		{"no STARTTLS", nil, clientTLS, nil, true},
		{"a certificate of nobody", serverTLS, nil, nil, false},
		{"busy", serverTLS, clientTLS, map[string]string{"MAIL": "451 later"}, false},
		{"refused", serverTLS, clientTLS, map[string]string{"RCPT": "550 no such user"}, true},
		{"wrong password", serverTLS, clientTLS, map[string]string{"AUTH": "535 no"}, true},
		{"no SMTP", serverTLS, clientTLS, map[string]string{"EHLO": "HTTP/1.1 400 Bad Request", "HELO": "HTTP/1.1 400 Bad Request"}, false},
		{"an endless line", serverTLS, clientTLS, map[string]string{"EHLO": "250" + strings.Repeat("x", 2<<20)}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newMailServer(t, tt.server, false, tt.answers)
			m, err := watch.NewMail(watch.MailOptions{Server: s.address, From: "a@example.net", To: []string{"b@example.net"}, User: "u", Password: "geheim", TLS: tt.client})
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Notify(t.Context(), event); err == nil || errors.Is(err, watch.ErrPermanent) != tt.permanent || strings.Contains(err.Error(), "geheim") || len(err.Error()) > 1000 {
				t.Errorf("%.1000v", err)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if len(s.mails) > 0 {
				t.Error("a mail was sent")
			}
		})
	}
}

// A server that accepts and says nothing is left when the context ends.
func TestMailHangs(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	m, err := watch.NewMail(watch.MailOptions{Server: l.Addr().String(), From: "a@example.net", To: []string{"b@example.net"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := m.Notify(ctx, event); err == nil {
		t.Error("no error")
	}
}

func TestNewMail(t *testing.T) {
	good := watch.MailOptions{Server: "mail.example.net:587", From: "a@example.net", To: []string{"b@example.net"}}
	if _, err := watch.NewMail(good); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*watch.MailOptions){
		"no port":            func(o *watch.MailOptions) { o.Server = "mail.example.net" },
		"no host":            func(o *watch.MailOptions) { o.Server = ":25" },
		"security":           func(o *watch.MailOptions) { o.Security = "ssl" },
		"plain password":     func(o *watch.MailOptions) { o.Security, o.User = watch.Plain, "u" },
		"from":               func(o *watch.MailOptions) { o.From = "nobody" },
		"two lines":          func(o *watch.MailOptions) { o.From = "a@example.net\r\nBcc: c@example.net" },
		"quoted line":        func(o *watch.MailOptions) { o.From = "\"a\r\n b\"@example.net" },
		"no recipient":       func(o *watch.MailOptions) { o.To = nil },
		"too many":           func(o *watch.MailOptions) { o.To = make([]string, watch.MaxRecipients+1) },
		"wrong recipient":    func(o *watch.MailOptions) { o.To = []string{"b@example.net", "c"} },
		"injected recipient": func(o *watch.MailOptions) { o.To = []string{"b@example.net>\r\nDATA"} },
	} {
		o := good
		change(&o)
		if _, err := watch.NewMail(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
