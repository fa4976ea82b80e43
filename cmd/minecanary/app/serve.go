package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/cmd/minecanary/config"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/decode"
	"github.com/minecanary/minecanary/consumer/eve"
	"github.com/minecanary/minecanary/consumer/files"
	"github.com/minecanary/minecanary/consumer/kafka"
	"github.com/minecanary/minecanary/consumer/slicer"
	"github.com/minecanary/minecanary/enrich"
	"github.com/minecanary/minecanary/enrich/elasticsearch"
	out "github.com/minecanary/minecanary/enrich/kafka"
	"github.com/minecanary/minecanary/enrich/memory"
	"github.com/minecanary/minecanary/enrich/ndjson"
	"github.com/minecanary/minecanary/enrich/redis"
	"github.com/minecanary/minecanary/enrich/score"
	"github.com/minecanary/minecanary/intel/feed"
	"github.com/minecanary/minecanary/intel/holds"
	"github.com/minecanary/minecanary/intel/sweep"
	"github.com/minecanary/minecanary/prober"
)

// drainTimeout is how long serve may take to stop after a signal.
const drainTimeout = 10 * time.Second

func newServe(e env) *cobra.Command {
	var file string
	var follow bool
	c := &cobra.Command{
		Use:   "serve -c minecanary.yaml",
		Short: "follow log files or Kafka topics and report miners as they appear",
		Long: `Serve runs the same pipeline as detect over what grows. It follows log files through rotation (input.files) and keeps
its state in state.dir; or it reads topics as one of any number of processes (kafka.topics) that share their state in
Redis. Hits go to hits.file, Elasticsearch and Kafka, proven pools to the feed. Killed at any moment it goes on where it
stood; nothing is lost and nothing counted twice. SIGTERM ends it within 10 seconds.`,
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
	ctx    context.Context //nolint:containedctx // that of the whole run, for callbacks that have none
	source consumer.Source
	stage  *decode.Stage
	engine *enrich.Engine
	feed   *feed.Publisher
	behind *behind // nil if nothing is published
	status *status
	quiet  quiet
	bad    *badLines
	ours   ours
	// directory is the catalogue with its history, site answers questions to it; nil if api.listen is empty.
	directory *directory
	site      *site
	holds     *holds.Holds
	// watch tells of wallets, pages keeps copies of pools' pages; nil if nobody asked for it.
	watch *walletWatch
	pages *pages
	close []io.Closer

	// What a deployment of several processes has; nil in the embedded one.
	topics  *kafka.Source
	dead    *out.DeadLetters
	elastic *elasticsearch.Client
	purse   prober.Purse
	// toKafka and annotated count what they had to leave out, producing tells whether the brokers take messages.
	toKafka   *out.Sink
	annotated *out.Annotator
	producing inFlight
	produce   out.Producer
	shared    *redis.Lists
	sweeps    *redis.Sweeps
	lists     *sharedLists
	// await asks whether the shared state is there.
	await func(context.Context) error
	// inputError is the last error of the topics.
	inputError atomic.Pointer[inputError]
}

func runServe(ctx context.Context, e env, cfg *config.Config, follow bool) error {
	if noInput(cfg) && !cfg.Catalogue.Resolve && !cfg.Catalogue.Probe {
		return hintError{
			usagef("input.files names no file to read, input.redis no server, and kafka.topics no topic"),
			"set input.files in the configuration, or MINECANARY_INPUT_FILES=/opt/zeek/logs/current/conn.log; without any, catalogue.resolve or catalogue.probe",
		}
	}
	if len(cfg.Kafka.Topics) > 0 && !follow {
		return usagef("--follow=false is for files: topics have no end")
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

// noInput tells that no records are read: then the service is there for its catalogue alone.
func noInput(cfg *config.Config) bool {
	return len(cfg.Input.Files)+len(cfg.Kafka.Topics) == 0 && cfg.Input.Redis == ""
}

// openService does the I/O of the start on this machine: state, hits file, audit trail. Services elsewhere are waited for
// later.
func openService(ctx context.Context, e env, cfg *config.Config, log *slog.Logger, follow bool) (_ *service, err error) {
	s := &service{cfg: cfg, log: log, status: newStatus(), ctx: ctx, ours: newOurs(cfg)}
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
	lists, err := readLists(cfg.Lists)
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
	if s.bad, err = newBadLines(e.stderr, cfg.Input.DeadLetter); err != nil {
		return nil, err
	}
	s.close = append(s.close, closer(s.bad.close))

	deps := enrich.Deps{Scorer: scorer, Workers: cfg.Prober.Concurrency}
	refuse := lists.refuse
	if lists != nil {
		deps.Lists = lists
	}
	ecfg := engineConfig(cfg, false)
	ecfg.Warn = func(what string, err error) {
		s.status.failures.WithLabelValues(what).Inc()
		log.Error("failed, going on", slog.String("what", what), slog.Any("error", err))
	}
	s.openKafka(&deps)
	if len(cfg.Kafka.Topics) > 0 {
		if err = s.openShared(&deps, &ecfg, scorer); err == nil {
			err = s.shareLists(&deps, lists)
			refuse = s.lists.refuse
		}
	} else {
		err = s.openEmbedded(ctx, e, &deps, &ecfg, scorer, follow)
	}
	if err != nil {
		return nil, err
	}
	if err := s.openElasticsearch(&deps); err != nil {
		return nil, err
	}
	if cfg.Hits.File != "" {
		f, err := ndjson.Open(cfg.Hits.File)
		if err != nil {
			return nil, err
		}
		s.close = append(s.close, f)
		deps.Sinks = append(deps.Sinks, f)
	}
	if s.dead != nil {
		deps.Sinks = append(deps.Sinks, deadSink{s.dead})
	}
	deps.Sinks = append(deps.Sinks, hitLog{log})
	if err := s.openDirectory(&deps); err != nil {
		return nil, err
	}
	if s.holds, err = holds.Open(filepath.Join(cfg.State.Dir, holds.FileName)); err != nil {
		return nil, err
	}
	var asked sweep.Verifier
	if cfg.Prober.Mode == "auto" || cfg.Catalogue.Probe {
		trail, err := openAudit(cfg.AuditFile())
		if err != nil {
			return nil, err
		}
		s.close = append(s.close, trail)
		asking := *cfg
		asking.Prober.Hold = append(slices.Clone(cfg.Prober.Hold), filepath.Join(cfg.State.Dir, holds.FileName))
		p, err := newProber(&asking, trail, s.purse, func(err error) {
			s.log.Error("file of the prober", slog.Any("error", err))
		})
		if err != nil {
			return nil, err
		}
		asked, s.ours.made = p, p.Made
		if cfg.Prober.Mode == "auto" {
			deps.Verifier = p
		}
		if cfg.Catalogue.Pages != "" {
			if s.pages, err = newPages(cfg.Catalogue.Pages, p, s.directory.nameOf, log); err != nil {
				return nil, err
			}
			deps.Sinks = append(deps.Sinks, s.pages)
		}
	}
	if err := s.directory.sweep(asked, false, s.warnDirectory); err != nil {
		return nil, err
	}
	if err := s.openSidelines(&deps); err != nil {
		return nil, err
	}
	if cfg.Feed.Dir != "" {
		p, err := newPublisher(cfg, feedHooks{
			refuse: refuse, mark: feedMark(s.directory.marks, s.directory.index), name: feedName(s.directory.index, s.directory.marks, deps.Lists),
			reach:   func(a netip.Addr) (int, bool) { return s.engine.Hosts(a) },
			observe: s.published, failed: s.failing("feed"),
		})
		if err != nil {
			return nil, err
		}
		s.feed, s.behind = p.Publisher, newBehind(p)
		deps.Publisher = s.behind
	}
	if cfg.API.Listen != "" {
		s.site = &site{feed: s.feed, cfg: cfg.API, directory: s.directory, holds: s.holds, local: &local{}, log: log, stateDir: cfg.State.Dir}
		deps.Sinks = append(deps.Sinks, s.site.local)
	}
	warnAllowed(e.stderr, cfg)
	s.engine = enrich.New(ecfg, deps)
	if s.site != nil && len(cfg.Kafka.Topics) == 0 {
		s.site.local.best = s.engine.Best
	}
	return s, nil
}

// openEmbedded opens the state on disk and the files.
func (s *service) openEmbedded(ctx context.Context, e env, deps *enrich.Deps, ecfg *enrich.Config, scorer score.Scorer, follow bool) error {
	cfg := s.cfg
	store := memory.New(memory.Config{
		Max: cfg.Suspect.Max, Report: cfg.Report.Window, Inactive: cfg.Suspect.Inactive, Rank: rank(scorer),
		File: filepath.Join(cfg.State.Dir, stateFile),
	})
	if err := store.Load(ctx); err != nil {
		return hintError{err, "move the file away to start anew; what it knew is lost then"}
	}
	positions, err := store.Positions(ctx)
	if err != nil {
		return err
	}
	src, err := s.openInput(e, positions, follow)
	if err != nil {
		return err
	}
	s.source = src
	s.stage = decode.New(decode.Config{
		Form: form(cfg.Input.Format), Marked: decode.SkipMarked, OnBad: s.bad.take, OnInterimMissing: s.interimMissing,
		Slicer: newSlicer(cfg), EVE: meters(cfg),
	})
	deps.Store = store
	facts, err := memory.OpenFacts(filepath.Join(cfg.State.Dir, factsFile))
	if err != nil {
		return err
	}
	s.close = append(s.close, facts)
	deps.Facts = facts
	ecfg.AtEnd, ecfg.Partitions = src.AtEnd, src.Partitions
	c := cfg.Catalogue
	if cfg.Prober.Mode == "off" && !cfg.Report.Suspected && len(cfg.Lists.Block) == 0 && (!c.Report || !c.Resolve) && len(verdictsOf(ctx, store)) == 0 {
		s.log.Warn("only what sensors see in payloads and names is reported (mining.log, ssl.log, dns.log, alerts): prober.mode is off, report.suspected is false, lists.block is empty, and catalogue.resolve is off")
	}
	return nil
}

// localInput is a source of one process.
type localInput interface {
	consumer.Source
	// AtEnd tells whether everything a partition has at the moment was read, Partitions names them.
	AtEnd(partition string) bool
	Partitions() []string
}

// openInput gives the files, or Suricata's list or stream; without any, a source that waits.
func (s *service) openInput(e env, positions map[string]minecanary.Position, follow bool) (localInput, error) {
	cfg := s.cfg
	if cfg.Input.Redis != "" {
		return s.openRedisInput(positions)
	}
	if noInput(cfg) {
		s.log.Warn("no input is configured: the catalogue is kept, and no miners are looked for")
		return idle{}, nil
	}
	src, err := files.New(files.Config{
		Paths: cfg.Input.Files, Follow: follow, Start: positions, Stdin: e.stdin,
		OnError: func(path string, err error) {
			s.status.inputErrors.Inc()
			say := s.log.Error
			if errors.Is(err, files.ErrMissed) { // perhaps: a log that the sensor makes only when it has something may be gone, read to its end
				say = s.log.Warn
			}
			say("input", slog.String("file", path), slog.Any("error", err))
		},
	})
	if err != nil {
		return nil, usageError{err}
	}
	return src, nil
}

func newSlicer(cfg *config.Config) *slicer.Slicer {
	return slicer.New(slicer.Config{Virtual: cfg.Slice.Virtual, Local: cfg.Network.Local, Plain: !cfg.Slice.Cumulative})
}

// meters tells the decoder of EVE which rules' alerts count what running flows did.
func meters(cfg *config.Config) eve.Config {
	var c eve.Config // without any, the decoder knows ours
	for _, sid := range cfg.Input.MeterSIDs {
		c.MeterSIDs = append(c.MeterSIDs, uint32(sid))
	}
	return c
}

// interimMissing warns once.
func (s *service) interimMissing(name string) {
	s.log.Warn("rows with interim_seq are left out, but no conn_interim record was seen; is its log read as well?", slog.String("input", name))
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
func (s *service) published(r feed.Report, err error) {
	s.status.feedStale.Set(0)
	if r.Stale {
		s.status.feedStale.Set(1)
		s.quiet.tell("feed stale", func() {
			s.log.Error("the feed is stale: sensors that expire indicators will lose them", slog.Time("written", r.Written))
		})
	}
	if !r.Written.IsZero() {
		s.status.feedAt.Set(float64(r.Written.Unix()))
	}
	if err != nil {
		return
	}
	s.status.feedEntries.Set(float64(r.Published))
	s.status.feedHeld.Set(float64(r.Held))
	s.status.feedLost.Set(float64(r.Lost))
	for _, a := range r.Approved {
		s.log.Info("feed: approved", slog.Any("endpoint", a.Endpoint), slog.String("by", a.By))
	}
	for _, err := range r.Problems {
		s.quiet.tell("feed"+err.Error(), func() { s.log.Warn("feed", slog.Any("error", err)) })
	}
	if r.MassRemoval {
		s.quiet.tell("feed mass removal", func() {
			s.log.Warn("feed: many endpoints left within a day; is the prober cut off?", slog.Int("left", r.Lost))
		})
	}
	if r.Changed {
		s.log.Info("feed published", slog.Int("endpoints", r.Published), slog.Int("addresses", r.Addresses), slog.Int("held", r.Held))
	}
	if r.Held > 0 {
		s.quiet.tell(fmt.Sprint("feed holds ", r.HeldBy), func() {
			s.log.Warn("feed holds endpoints back; see minecanary feed status, and feed approve", slog.Int("held", r.Held), slog.Any("reasons", r.HeldBy))
		})
	}
}

// run works until the source ends, the context does, or something fails.
func (s *service) run(parent context.Context) error {
	// Whatever hangs while draining is left behind; the snapshot on disk is whole in any case.
	ended := make(chan struct{})
	defer close(ended)
	defer context.AfterFunc(parent, func() {
		select {
		case <-ended:
		case <-time.After(drainTimeout):
			s.log.Error("could not stop in time; the last snapshot stands")
			os.Exit(ExitFailed)
		}
	})()
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
	s.runDirectory(ctx, g)
	if s.watch != nil {
		g.Go(func() error { s.watch.Run(ctx); return nil })
		g.Go(func() error { return every(ctx, watchListEvery, s.watch.look) })
	}
	if s.pages != nil {
		g.Go(func() error { return s.pages.run(ctx) })
	}
	if s.site != nil {
		if _, err := s.site.run(ctx, g); err != nil {
			return err
		}
	}
	if s.feed != nil {
		g.Go(func() error {
			if err := s.feed.Run(ctx); err != nil && ctx.Err() == nil {
				return fmt.Errorf("feed: %w", err)
			}
			return nil
		})
		g.Go(func() error { return s.behind.run(ctx, s.failing("publish")) })
	}
	if s.elastic != nil {
		// Reading does not wait for it: what it is to get waits by itself.
		g.Go(func() error {
			if err := s.waitFor(ctx, "elasticsearch", s.elastic.Ping); err != nil && ctx.Err() == nil {
				return err
			}
			return nil
		})
	}
	g.Go(func() error {
		defer cancel()
		if s.await != nil {
			if err := s.waitFor(ctx, "redis", s.await); err != nil {
				return err
			}
			if err := s.lists.exchange(ctx); err != nil {
				return err
			}
			g.Go(func() error { return s.lists.follow(ctx) })
			g.Go(func() error { return s.watchOver(ctx, "redis", s.await) })
		}
		s.log.Info("started", slog.String("version", thisBuild().Version), slog.String("scorer", s.cfg.Score.Scorer), slog.String("probe", s.cfg.Prober.Mode))
		err := pump(ctx, s.source, s.stage, s.engine, s.ours, s.saw())
		c := s.stage.Counts()
		s.log.Info("stopped", slog.Uint64("records", c.Records), slog.Uint64("skipped", decode.Total(c.Skipped)), slog.Uint64("bad", decode.Total(c.Bad)), slog.Uint64("repeated_batches", s.engine.Stats().Repeated))
		return err
	})
	err := g.Wait()
	if s.behind != nil {
		err = errors.Join(err, s.behind.run(ctx, s.failing("publish"))) // what the engine said last
	}
	if errors.Is(err, context.Canceled) && parent.Err() != nil {
		return nil // asked to stop, and did
	}
	return err
}

type closer func() error

// Close implements io.Closer.
func (c closer) Close() error { return c() }
