package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/cmd/minecanary/config"
	"github.com/minecanary/minecanary/enrich"
	"github.com/minecanary/minecanary/intel/accounts"
	"github.com/minecanary/minecanary/intel/api"
	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/intel/changes"
	"github.com/minecanary/minecanary/intel/feed"
	"github.com/minecanary/minecanary/intel/holds"
	"github.com/minecanary/minecanary/intel/importer"
	"github.com/minecanary/minecanary/intel/web"
)

// How much one network may ask of the API and the pages.
const (
	siteRate  = 50 // requests a second
	siteBurst = 200
)

// Bounds of the HTTP server of API and pages.
const (
	siteHeaderTime = 5 * time.Second
	siteReadTime   = 30 * time.Second
	siteIdleTime   = 2 * time.Minute
	siteHeader     = 1 << 14 // bytes
)

// site is the API and the pages.
type site struct {
	cfg       config.API
	feed      *feed.Publisher // nil if nothing is published
	directory *directory
	local     *local
	holds     *holds.Holds
	log       *slog.Logger
	stateDir  string
}

// handler bounds how much one network may ask.
func (s *site) handler() http.Handler {
	return accounts.NewLimiter(accounts.LimiterOptions{Rate: siteRate, Burst: siteBurst}).Middleware(s.routes())
}

// routes puts API, pages and sMaSheD's paths together.
func (s *site) routes() http.Handler {
	d := s.directory
	people := accounts.Open(filepath.Join(s.stateDir, accounts.FileName), accounts.Options{
		Log:     s.log,
		OnError: func(err error) { s.log.Error("accounts", slog.Any("error", err)) },
	})
	journal := changes.Open(filepath.Join(s.stateDir, changes.FileName))
	anonymous := accounts.Viewer
	if s.cfg.Anonymous == "none" {
		anonymous = accounts.Nobody
	}
	version := thisBuild().Version
	own := api.Config{
		Register: d.register, Index: d.index, History: d.history, Accounts: people, Changes: journal, Sweep: d.sweeper,
		Importer: func(format string, data []byte) (catalog.Layer, []catalog.Problem, error) {
			return importer.Import(importer.Format(format), data, importer.Options{})
		},
		Anonymous: anonymous, Version: version, Log: s.log,
	}
	if s.holds != nil {
		own.Hold = s.holds
	}
	rest := api.New(own)
	cfg := web.Config{
		Register: d.register, Index: d.index, History: d.history, Accounts: people, Changes: journal, Anonymous: anonymous,
		Sweep: d.sweeper, API: true, Version: version, Log: s.log,
	}
	if s.local != nil {
		cfg.Local = s.local
	}
	mux := http.NewServeMux()
	mux.Handle("/", web.New(cfg))
	if s.feed != nil {
		files := s.feed.Handler()
		if !anonymous.Allows(accounts.Viewer) {
			files = accounts.Require(accounts.Viewer, files)
		}
		mux.Handle(feed.PathPrefix, files)
	}
	mux.Handle(api.Prefix+"/", rest)
	compat := rest.Compat()
	for _, table := range []string{"pool", "server", "crypto", "port", "address"} {
		mux.Handle("/"+table+"/json", compat)
	}
	mux.Handle("/miningProp/", compat)
	mux.Handle("/content", compat)
	return s.ownHosts(people.Middleware(mux))
}

// ownHosts refuses requests to names that are not ours: a hostile page whose name leads to this address (DNS rebinding)
// could otherwise read what an anonymous may. Addresses cannot be rebound.
func (s *site) ownHosts(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
		_, err := netip.ParseAddr(host)
		if err != nil && host != "localhost" && !slices.ContainsFunc(s.cfg.Hosts, func(h string) bool { return strings.EqualFold(h, host) }) {
			accounts.Problem(w, http.StatusMisdirectedRequest, "this server has another name (api.hosts)")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// run serves in the group until the context ends, and gives the address.
func (s *site) run(ctx context.Context, g *errgroup.Group) (url string, err error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", s.cfg.Listen)
	if err != nil {
		return "", fmt.Errorf("api.listen: %w", err)
	}
	scheme := "http"
	if s.cfg.Cert != "" {
		cert, err := tls.LoadX509KeyPair(s.cfg.Cert, s.cfg.Key)
		if err != nil {
			return "", errors.Join(fmt.Errorf("api.cert: %w", err), ln.Close())
		}
		ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
		scheme = "https"
	} else if a, ok := ln.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() {
		s.log.Warn("api.listen is not on the loopback interface and speaks plain HTTP: people cannot log in; set api.cert and api.key")
		if s.cfg.Anonymous == "viewer" && s.local != nil {
			s.log.Warn("whoever reaches api.listen reads which clients mine; api.anonymous: none asks for a login")
		}
	}
	url = scheme + "://" + ln.Addr().String() + "/"
	s.log.Info("pages and API", slog.String("url", url))
	srv := &http.Server{
		Handler: s.handler(), ReadHeaderTimeout: siteHeaderTime, ReadTimeout: siteReadTime, WriteTimeout: api.WriteTimeout,
		IdleTimeout: siteIdleTime, MaxHeaderBytes: siteHeader, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	g.Go(func() error {
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("api: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if srv.Shutdown(stop) != nil {
			return srv.Close() // who is slow has had his second
		}
		return nil
	})
	return url, nil
}

// maxRecent is how many hits the pages show, of this process.
const maxRecent = 5000

// bestFor is how long a list of suspects is shown before it is made anew: it costs a look at all of them.
const bestFor = 15 * time.Second

// local is what this instance found, for the pages. As a sink it keeps the newest hits.
type local struct {
	// best gives the suspects; nil if they are not of this process alone.
	best func(ctx context.Context, n int) ([]enrich.Ranked, error)

	mu   sync.Mutex
	hits []minecanary.Hit // the oldest first
	// number is that of hits[0].
	number uint64

	asking   sync.Mutex
	ranked   []enrich.Ranked
	failed   error // why there is no list
	rankedAt time.Time
}

// Write implements enrich.Sink.
func (l *local) Write(_ context.Context, hits []minecanary.Hit) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range hits {
		h := hits[i]
		h.Evidence = slices.Clone(h.Evidence)
		l.hits = append(l.hits, h)
	}
	if over := len(l.hits) - maxRecent; over > 0 {
		l.hits = slices.Delete(l.hits, 0, over)
		l.number += uint64(over)
	}
	return nil
}

// Flush implements enrich.Sink; these hits are for looking at, not for keeping.
func (l *local) Flush(context.Context) error { return nil }

// Hits implements web.Local. before is the number of the oldest hit of the page before.
func (l *local) Hits(limit int, before string) (rows []web.HitRow, next string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	end := len(l.hits)
	if before != "" {
		n, err := strconv.ParseUint(before, 10, 64)
		if err != nil || n < l.number {
			return nil, "", nil // what it speaks of is gone
		}
		end = min(end, int(min(n-l.number, maxRecent)))
	}
	begin := max(0, end-limit)
	for i := end - 1; i >= begin; i-- {
		rows = append(rows, hitRow(&l.hits[i]))
	}
	if begin > 0 {
		next = strconv.FormatUint(l.number+uint64(begin), 10)
	}
	return rows, next, nil
}

func hitRow(h *minecanary.Hit) web.HitRow {
	evidence := append(slices.Clone(h.Verdict.Evidence), h.Evidence...)
	return web.HitRow{
		ID: h.ID(), Client: h.Client, Endpoint: h.Server, Status: h.Status, Verdict: h.Verdict.Status, Dialect: h.Verdict.Dialect,
		Reason: h.Verdict.Reason, FirstSeen: time.UnixMicro(h.FirstSeen).UTC(), LastSeen: time.UnixMicro(h.LastSeen).UTC(), Found: h.Found,
		Records: h.EventScale, Bytes: h.InWindow.ClientBytes + h.InWindow.ServerBytes, Score: h.Score, Evidence: evidence,
	}
}

// bestWait bounds how long a page waits for the suspects.
const bestWait = 10 * time.Second

// Suspects implements web.Local.
func (l *local) Suspects(limit int) ([]web.SuspectRow, error) {
	if l.best == nil {
		return nil, nil
	}
	l.asking.Lock()
	defer l.asking.Unlock()
	if time.Since(l.rankedAt) > bestFor {
		ctx, cancel := context.WithTimeout(context.Background(), bestWait)
		defer cancel()
		l.ranked, l.failed = l.best(ctx, enrich.MaxBest)
		l.rankedAt = time.Now()
	}
	if l.failed != nil {
		return nil, l.failed // remembered as well: readers must not queue up behind an engine that is busy
	}
	rows := make([]web.SuspectRow, 0, min(limit, len(l.ranked)))
	for i := range l.ranked[:min(limit, len(l.ranked))] {
		r := &l.ranked[i]
		rows = append(rows, web.SuspectRow{
			Client: r.Client, Endpoint: r.Server, Verdict: r.Verdict.Status,
			FirstSeen: time.UnixMicro(r.Seen.First).UTC(), LastSeen: time.UnixMicro(r.Seen.Last).UTC(),
			Records: r.Seen.Records, Bytes: r.Seen.ClientBytes + r.Seen.ServerBytes, Score: r.Score,
		})
	}
	return rows, nil
}
