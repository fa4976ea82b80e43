package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/cmd/minecanary/config"
	"github.com/minecanary/minecanary/consumer/decode"
	"github.com/minecanary/minecanary/consumer/files"
	"github.com/minecanary/minecanary/consumer/slicer"
	"github.com/minecanary/minecanary/enrich"
	"github.com/minecanary/minecanary/enrich/memory"
	"github.com/minecanary/minecanary/enrich/ndjson"
	"github.com/minecanary/minecanary/enrich/score"
	"github.com/minecanary/minecanary/intel/feed"
)

// drainTimeout is how long serve may take to stop after a signal.
const drainTimeout = 10 * time.Second

func newServe(e env) *cobra.Command {
	var file string
	var follow bool
	c := &cobra.Command{
		Use:   "serve -c minecanary.yaml",
		Short: "follow log files and report miners as they appear",
		Long: `Serve runs the same pipeline as detect over files that grow: it follows them through rotation, keeps its state in
state.dir, appends hits to hits.file and keeps the feed up to date. Killed at any moment it goes on where its last
snapshot stood; nothing is lost and nothing counted twice. SIGTERM saves the state and ends it within 10 seconds.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := loadConfig(file)
			if err != nil {
				return err
			}
			return runServe(c.Context(), e, cfg, follow)
		},
	}
	c.Flags().StringVarP(&file, "config", "c", "", "configuration file; without it defaults and MINECANARY_… variables")
	c.Flags().BoolVar(&follow, "follow", true, "wait for more at the end of the files; false: stop there")
	return c
}

// loadConfig reads the file, or the environment alone.
func loadConfig(file string) (*config.Config, error) {
	cfg, err := config.Load(file, os.Environ())
	if err != nil {
		return nil, usageError{err}
	}
	return cfg, nil
}

func newLogger(cfg config.Log, w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(cfg.Level)) // the configuration allows only words it knows
	opts := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// service is a running serve.
type service struct {
	cfg    *config.Config
	log    *slog.Logger
	source *files.Source
	stage  *decode.Stage
	engine *enrich.Engine
	feed   *feed.Publisher
	status *status
	close  []io.Closer
}

func runServe(ctx context.Context, e env, cfg *config.Config, follow bool) error {
	if len(cfg.Input.Files) == 0 {
		return hintError{
			usagef("input.files names no file to read"),
			"set input.files in the configuration, or MINECANARY_INPUT_FILES=/opt/zeek/logs/current/conn.log",
		}
	}
	log := newLogger(cfg.Log, e.stderr)
	if e.getenv("GOGC") == "" {
		defer debug.SetGCPercent(debug.SetGCPercent(gcPercent))
	}
	s, err := openService(ctx, e, cfg, log, follow)
	if err != nil {
		return err
	}
	err = s.run(ctx)
	for _, c := range slices.Backward(s.close) {
		err = errors.Join(err, c.Close())
	}
	if err == nil && !follow && decode.Total(s.stage.Counts().Bad) > 0 {
		return errPartial
	}
	return err
}

// openService does the I/O of the start: state, hits file, audit trail.
func openService(ctx context.Context, e env, cfg *config.Config, log *slog.Logger, follow bool) (_ *service, err error) {
	s := &service{cfg: cfg, log: log, status: newStatus()}
	defer func() {
		if err != nil {
			for _, c := range slices.Backward(s.close) {
				err = errors.Join(err, c.Close())
			}
		}
	}()
	scorer, err := score.New(cfg.Score.Scorer, cfg.Score.Threshold)
	if err != nil {
		return nil, err
	}
	lists, err := readLists(cfg.Lists, e.stderr)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.State.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	lock, err := lockDir(cfg.State.Dir)
	if err != nil {
		return nil, err
	}
	s.close = append(s.close, lock)
	store := memory.New(memory.Config{
		Max: cfg.Suspect.Max, Report: cfg.Report.Window, Inactive: cfg.Suspect.Inactive, Rank: rank(scorer),
		File: filepath.Join(cfg.State.Dir, stateFile),
	})
	if err := store.Load(ctx); err != nil {
		return nil, hintError{err, "move the file away to start anew; what it knew is lost then"}
	}
	positions, err := store.Positions(ctx)
	if err != nil {
		return nil, err
	}
	bad, err := newBadLines(e.stderr, cfg.Input.DeadLetter)
	if err != nil {
		return nil, err
	}
	s.close = append(s.close, closer(bad.close))
	s.source, err = files.New(files.Config{
		Paths: cfg.Input.Files, Follow: follow, Start: positions, Stdin: e.stdin,
		OnError: func(path string, err error) {
			s.status.inputErrors.Inc()
			log.Error("input", slog.String("file", path), slog.Any("error", err))
		},
	})
	if err != nil {
		return nil, usageError{err}
	}
	s.stage = decode.New(decode.Config{
		Form: form(cfg.Input.Format), Marked: decode.SkipMarked, OnBad: bad.take,
		OnInterimMissing: func(name string) {
			log.Warn("rows with interim_seq are left out, but no conn_interim record was seen; is its log in input.files?", slog.String("file", name))
		},
		Slicer: slicer.New(slicer.Config{Virtual: cfg.Slice.Virtual, Local: cfg.Network.Local}),
	})
	deps := enrich.Deps{Store: store, Scorer: scorer, Workers: cfg.Prober.Concurrency}
	if lists != nil {
		deps.Lists = lists
	}
	if cfg.Hits.File != "" {
		out, err := ndjson.Open(cfg.Hits.File)
		if err != nil {
			return nil, err
		}
		s.close = append(s.close, out)
		deps.Sinks = append(deps.Sinks, out)
	}
	deps.Sinks = append(deps.Sinks, hitLog{log})
	if cfg.Prober.Mode == "auto" {
		trail, err := openAudit(cfg.AuditFile())
		if err != nil {
			return nil, err
		}
		s.close = append(s.close, trail)
		if deps.Verifier, err = newProber(cfg, trail); err != nil {
			return nil, err
		}
	}
	if cfg.Feed.Dir != "" {
		p, err := newPublisher(cfg, lists, s.published)
		if err != nil {
			return nil, err
		}
		s.feed, deps.Publisher = p.Publisher, p
	}
	warnAllowed(e.stderr, cfg)
	if cfg.Prober.Mode == "off" && !cfg.Report.Suspected && len(cfg.Lists.Block) == 0 && len(verdictsOf(ctx, store)) == 0 {
		log.Warn("nothing can be reported: prober.mode is off, report.suspected is false, and lists.block is empty")
	}
	ecfg := engineConfig(cfg, false)
	ecfg.AtEnd, ecfg.Partitions = s.source.AtEnd, s.source.Partitions
	ecfg.Warn = func(what string, err error) {
		s.status.failures.WithLabelValues(what).Inc()
		log.Error("failed, going on", slog.String("what", what), slog.Any("error", err))
	}
	s.engine = enrich.New(ecfg, deps)
	return s, nil
}

// verdictsOf gives the verdicts of a state that was just loaded.
func verdictsOf(ctx context.Context, store *memory.Store) []minecanary.Verdict {
	all, err := store.Verdicts(ctx)
	if err != nil {
		return nil
	}
	return all
}

// published hears of every publication.
func (s *service) published(r feed.Report) {
	s.status.feedEntries.Set(float64(r.Published))
	s.status.feedHeld.Set(float64(r.Held))
	s.status.feedAt.Set(float64(r.At.Unix()))
	if r.Changed {
		s.log.Info("feed published", slog.Int("endpoints", r.Published), slog.Int("addresses", r.Addresses), slog.Int("held", r.Held))
	}
	if r.Held > 0 {
		s.log.Warn("feed holds endpoints back, too many are new", slog.Int("held", r.Held))
	}
}

// run works until the source ends, the context does, or something fails.
func (s *service) run(parent context.Context) error {
	// Whatever hangs while draining is left behind; the snapshot on disk is whole in any case.
	watchdog := context.AfterFunc(parent, func() {
		time.AfterFunc(drainTimeout, func() {
			s.log.Error("could not stop in time; the last snapshot stands")
			os.Exit(ExitFailed)
		})
	})
	defer watchdog()
	g, ctx := errgroup.WithContext(parent)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.status.watch(s)
	if s.cfg.HTTP.Listen != "" {
		var lc net.ListenConfig
		ln, err := lc.Listen(ctx, "tcp", s.cfg.HTTP.Listen)
		if err != nil {
			return fmt.Errorf("http.listen: %w", err)
		}
		srv := &http.Server{Handler: s.status.handler(), ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 1 << 14}
		s.log.Info("listening", slog.String("address", ln.Addr().String()))
		g.Go(func() error {
			if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("http: %w", err)
			}
			return nil
		})
		g.Go(func() error {
			<-ctx.Done()
			stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			return srv.Shutdown(stop)
		})
	}
	if s.feed != nil {
		g.Go(func() error {
			if err := s.feed.Run(ctx); err != nil && ctx.Err() == nil {
				return fmt.Errorf("feed: %w", err)
			}
			return nil
		})
	}
	g.Go(func() error {
		defer cancel()
		s.log.Info("started", slog.String("version", thisBuild().Version), slog.String("scorer", s.cfg.Score.Scorer), slog.String("probe", s.cfg.Prober.Mode))
		err := pump(ctx, s.source, s.stage, s.engine)
		c := s.stage.Counts()
		s.log.Info("stopped", slog.Uint64("records", c.Records), slog.Uint64("skipped", decode.Total(c.Skipped)), slog.Uint64("bad", decode.Total(c.Bad)), slog.Uint64("repeated_batches", s.engine.Stats().Repeated))
		return err
	})
	err := g.Wait()
	if errors.Is(err, context.Canceled) && parent.Err() != nil {
		return nil // asked to stop, and did
	}
	return err
}

type closer func() error

// Close implements io.Closer.
func (c closer) Close() error { return c() }
