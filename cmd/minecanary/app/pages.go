package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/archive"
	"github.com/minecanary/minecanary/prober"
)

const (
	// maxPages is how many pools wait for a copy of their page.
	maxPages = 64
	// pageMode is that of the copies.
	pageMode = 0o640
)

// pages keeps a copy of the web page on an address when it is first proved to be a pool's. It is a sink.
type pages struct {
	dir  string
	dial func(ctx context.Context, to netip.AddrPort, why string) (net.Conn, error)
	// name gives the server's name in the catalogue, "" if it has none.
	name func(minecanary.Endpoint) string
	log  *slog.Logger
	wait chan minecanary.Endpoint
}

func newPages(dir string, p *prober.Prober, name func(minecanary.Endpoint) string, log *slog.Logger) (*pages, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("catalogue.pages: %w", err)
	}
	return &pages{dir: dir, dial: p.Dial, name: name, log: log, wait: make(chan minecanary.Endpoint, maxPages)}, nil
}

// Write implements enrich.Sink; hits are none of its business.
func (*pages) Write(context.Context, []minecanary.Hit) error { return nil }

// Flush implements enrich.Sink: a page that was not taken is no loss to anybody's state.
func (*pages) Flush(context.Context) error { return nil }

// Probed implements enrich.VerdictSink.
func (p *pages) Probed(_ context.Context, verdicts []minecanary.Verdict) error {
	for _, v := range verdicts {
		if v.Status != minecanary.Confirmed || !v.FirstConfirmed.Equal(v.At) {
			continue
		}
		select {
		case p.wait <- v.Endpoint:
		default:
			p.log.Warn("no copy of a page: too many wait", slog.Any("pool", v.Endpoint))
		}
	}
	return nil
}

// Expired implements enrich.VerdictSink.
func (*pages) Expired(context.Context, []minecanary.Endpoint) error { return nil }

// run takes copies until the context ends.
func (p *pages) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case ep := <-p.wait:
			if err := p.take(ctx, ep); err != nil && ctx.Err() == nil {
				p.log.Info("no copy of a page", slog.Any("pool", ep), slog.Any("error", err))
			}
		}
	}
}

// take copies the page once: over HTTP, or over TLS where that is not answered.
func (p *pages) take(ctx context.Context, ep minecanary.Endpoint) error {
	file := filepath.Join(p.dir, strings.ReplaceAll(ep.Addr.String(), ":", "_")+".warc")
	if _, err := os.Lstat(file); err == nil {
		return nil // of another port
	}
	host := p.name(ep)
	if host == "" {
		host = ep.Addr.String()
		if ep.Addr.Is6() {
			host = "[" + host + "]"
		}
	}
	var errs error
	for _, site := range [...]struct {
		scheme string
		port   uint16
	}{{"http", 80}, {"https", 443}} {
		err := p.copy(ctx, file, archive.Page{URL: site.scheme + "://" + host + "/", Address: netip.AddrPortFrom(ep.Addr, site.port)}, ep)
		if err == nil {
			return nil
		}
		errs = errors.Join(errs, err)
	}
	return errs
}

// copy writes one page to the file, whole or not at all.
func (p *pages) copy(ctx context.Context, file string, page archive.Page, ep minecanary.Endpoint) error {
	tmp, err := os.CreateTemp(p.dir, ".page.*.tmp")
	if err != nil {
		return err
	}
	dial := func(ctx context.Context, _, address string) (net.Conn, error) {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return nil, err
		}
		return p.dial(ctx, to, "copy of the web page on the address of pool "+ep.String())
	}
	began := time.Now()
	got, err := archive.Write(ctx, tmp, dial, page)
	err = errors.Join(err, tmp.Chmod(pageMode), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		_ = os.Remove(tmp.Name()) // nobody reads it
		return err
	}
	p.log.Info("copy of a page", slog.Any("pool", ep), slog.String("file", file), slog.Int("status", got.Status),
		slog.Int("bytes", got.Payload), slog.String("sha256", got.SHA256), slog.Duration("took", time.Since(began)))
	return nil
}
