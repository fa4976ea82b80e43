package app

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minecanary/minecanary"
)

// TestPages copies the page of an address once, at the first proof, and leaves nothing of what did not work.
func TestPages(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "page of "+r.Host)
	}))
	t.Cleanup(web.Close)
	dir := filepath.Join(t.TempDir(), "pages")
	var asked []string
	p := &pages{
		dir: dir, log: slog.New(slog.DiscardHandler), wait: make(chan minecanary.Endpoint, maxPages),
		name: func(ep minecanary.Endpoint) string {
			if ep.Port == 3333 {
				return "pool.example"
			}
			return ""
		},
		dial: func(ctx context.Context, to netip.AddrPort, why string) (net.Conn, error) {
			asked = append(asked, to.String()+" "+why)
			if to.Addr() == netip.MustParseAddr("192.0.2.9") || to.Port() == 443 {
				return nil, errors.New("refused")
			}
			var d net.Dialer
			return d.DialContext(ctx, "tcp", web.Listener.Addr().String())
		},
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	verdict := func(addr string, port uint16, first time.Time) minecanary.Verdict {
		return minecanary.Verdict{
			Endpoint: minecanary.NewEndpoint(netip.MustParseAddr(addr), port, minecanary.TCP), Status: minecanary.Confirmed, At: at, FirstConfirmed: first,
		}
	}
	again, other := verdict("192.0.2.8", 3333, at.Add(-time.Hour)), verdict("192.0.2.8", 3333, at)
	other.Status = minecanary.NotPool
	if err := p.Probed(t.Context(), []minecanary.Verdict{
		verdict("192.0.2.1", 3333, at), again, other, verdict("192.0.2.1", 4444, at), verdict("2001:db8::1", 4444, at), verdict("192.0.2.9", 1, at),
	}); err != nil {
		t.Fatal(err)
	}
	for range len(p.wait) {
		_ = p.take(t.Context(), <-p.wait) // the last one fails
	}
	want := []string{
		"192.0.2.1:80 copy of the web page on the address of pool 192.0.2.1:3333",
		"[2001:db8::1]:80 copy of the web page on the address of pool [2001:db8::1]:4444",
		"192.0.2.9:80 copy of the web page on the address of pool 192.0.2.9:1",
		"192.0.2.9:443 copy of the web page on the address of pool 192.0.2.9:1",
	}
	if strings.Join(asked, "\n") != strings.Join(want, "\n") {
		t.Errorf("asked\n%s", strings.Join(asked, "\n"))
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 2 || files[0].Name() != "192.0.2.1.warc" || files[1].Name() != "2001_db8__1.warc" {
		t.Errorf("files %v", files)
	}
	if text := read(t, filepath.Join(dir, "192.0.2.1.warc")); !strings.Contains(text, "page of pool.example") || !strings.Contains(text, "WARC-Target-URI: http://pool.example/") {
		t.Errorf("copy:\n%s", text)
	}
	for range maxPages + 5 {
		if err := p.Probed(t.Context(), []minecanary.Verdict{verdict("192.0.2.1", 3333, at)}); err != nil {
			t.Fatal(err)
		}
	}
	if len(p.wait) != maxPages {
		t.Errorf("%d wait", len(p.wait))
	}
}
