package prober_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/minecanary/minecanary/prober"
	"github.com/minecanary/minecanary/prober/audit"
)

// TestDial: a connection beside a question is in the trail before and after, within the endpoint's budget, and refused
// where a probe is.
func TestDial(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(srv.Close)
	to := netip.MustParseAddrPort(srv.Listener.Addr().String())
	trail := &trail{}
	p := newProber(t, hasty(), trail)
	read := func(conn net.Conn) {
		t.Helper()
		if _, err := io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	made := 0
	for {
		conn, err := p.Dial(t.Context(), to, "a page")
		if errors.Is(err, prober.ErrRefused) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if made == 0 {
			if got := trail.all(); len(got) != 1 || got[0].Event != audit.EventProbe || got[0].Why != "a page" || got[0].Endpoint != to.String() {
				t.Fatalf("before the first byte the trail has %+v", got)
			}
		}
		read(conn)
		if made++; made > 100 {
			t.Fatal("no budget holds")
		}
	}
	if made != 8 {
		t.Errorf("%d connections within an hour, want those that the catalogue may make in a network", made)
	}
	all := trail.all()
	if last := all[1]; last.Event != audit.EventConnection || last.BytesSent != 18 || last.BytesRead == 0 || last.Local == "" {
		t.Errorf("at the end the trail has %+v", last)
	}
	for _, refused := range []string{"10.0.0.1:80", "127.0.0.1:22"} {
		if _, err := newProber(t, hasty(), trail).Dial(t.Context(), netip.MustParseAddrPort(refused), ""); !errors.Is(err, prober.ErrRefused) {
			t.Errorf("%s: %v", refused, err)
		}
	}
}
