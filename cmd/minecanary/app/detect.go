package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/cmd/minecanary/config"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/decode"
	"github.com/minecanary/minecanary/consumer/files"
	"github.com/minecanary/minecanary/enrich"
	"github.com/minecanary/minecanary/enrich/memory"
	"github.com/minecanary/minecanary/enrich/ndjson"
	"github.com/minecanary/minecanary/enrich/score"
	"github.com/minecanary/minecanary/intel/resolver"
)

// detectOptions are the flags of detect.
type detectOptions struct {
	scorer     string
	threshold  float64
	probe      string
	allowProbe []string
	allowFeed  []string
	local      []string
	format     string
	allow      []string
	block      []string
	suspects   bool
	json       bool
	out        string
	deadLetter string
	feed       string
	audit      string
	// sinks are told, too: the demo's pages.
	sinks []enrich.Sink
}

// detectSegments is how many report windows of one suspect a finite run tells apart: six weeks of hours.
const detectSegments = 1024

// gcPercent is GOGC unless the environment sets it: the live heap is mostly slabs without pointers, so collecting often
// is cheap.
const gcPercent = 50

func newDetect(e env) *cobra.Command {
	var o detectOptions
	c := &cobra.Command{
		Use:   "detect [flags] FILE…",
		Short: "find miners in log files",
		Long: `Detect reads Zeek conn, conn_long, mining, ssl and dns logs (JSON or TSV), conn_interim logs of our Zeek script, Suricata EVE files, and flows as
nfdump (CSV) and goflow2 (JSON) write them, plain, .gz or .zst, or standard input (-), and prints who mines where and
why. Glob patterns may be quoted.

Nothing is sent anywhere unless --probe auto is given: then the suspected servers are asked in mining protocols whether
they are pools. Without it what --block-list names is reported, and who mines by what the sensor saw beside traffic:
mining.log of our Zeek package, alerts of our Suricata rules, and names of known pools in ssl.log, dns.log and EVE.
--suspects shows whom the score accuses.

A summary goes to standard error. Exit code 3 means that some lines were bad; the good ones were all used.`,
		Example: `  minecanary detect --suspects /opt/zeek/logs/current/conn.log
  zcat conn.*.log.gz | minecanary detect --json --suspects -
  minecanary detect --probe auto --feed feed/ conn.log conn_interim.log`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return runDetect(c.Context(), e, o, args) },
	}
	f := c.Flags()
	f.StringVar(&o.scorer, "scorer", "canary", "scorer: canary or nemea")
	f.Float64Var(&o.threshold, "threshold", 0, "points that make a suspect; 0: the scorer's own")
	f.StringVar(&o.probe, "probe", "off", "ask suspected servers: off or auto")
	f.StringSliceVar(&o.allowProbe, "allow-probe", nil, "networks (CIDR) that may be probed although they are not public")
	f.StringSliceVar(&o.allowFeed, "allow-feed", nil, "networks (CIDR) that may enter the feed although they are not public")
	f.StringSliceVar(&o.local, "local", nil, "our networks (CIDR); replaces the log's own local flags")
	f.StringVar(&o.format, "format", "auto", "form of the input: auto, "+forms())
	f.StringSliceVar(&o.allow, "allow-list", nil, "files of endpoints never to report")
	f.StringSliceVar(&o.block, "block-list", nil, "files of endpoints always to report")
	f.BoolVar(&o.suspects, "suspects", false, "also report those whom only the score accuses")
	f.BoolVar(&o.json, "json", false, "print hits as NDJSON (ECS documents) instead of a table")
	f.StringVar(&o.out, "out", "", "also append hits as NDJSON to this file")
	f.StringVar(&o.deadLetter, "dead-letter", "", "append bad lines as NDJSON to this file")
	f.StringVar(&o.feed, "feed", "", "write feed files into this directory")
	f.StringVar(&o.audit, "audit", defaultAudit(e), "with --probe auto: append a record of every connection to this file")
	complete(c, "scorer", score.Names()...)
	complete(c, "probe", "off", "auto")
	complete(c, "format", append([]string{"auto"}, strings.Split(forms(), ", ")...)...)
	return c
}

// complete lets the shell offer the values of a flag.
func complete(c *cobra.Command, flag string, values ...string) {
	// The only error is a flag that does not exist, which a test of the completion would show.
	_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

func runDetect(ctx context.Context, e env, o detectOptions, paths []string) error {
	cfg, err := o.config()
	if err != nil {
		return err
	}
	scorer, err := score.New(cfg.Score.Scorer, cfg.Score.Threshold)
	if err != nil {
		return usageError{err}
	}
	lists, err := readLists(cfg.Lists)
	if err != nil {
		return err
	}
	if e.getenv("GOGC") == "" {
		defer debug.SetGCPercent(debug.SetGCPercent(gcPercent))
	}

	if err := notInput(paths, map[string]string{"--out": o.out, "--dead-letter": o.deadLetter, "--audit": o.audit}); err != nil {
		return err
	}
	bad, err := newBadLines(e.stderr, cfg.Input.DeadLetter)
	if err != nil {
		return err
	}
	var unread []string
	src, err := files.New(files.Config{
		Paths: paths, Stdin: e.stdin,
		OnError: func(path string, err error) {
			unread = append(unread, path)
			say(e.stderr, "%s: %v", path, err)
		},
	})
	if err != nil {
		return errors.Join(usageError{err}, bad.close())
	}
	stage := decode.New(decode.Config{
		Form: form(cfg.Input.Format), Marked: decode.DeferMarked, OnBad: bad.take,
		Slicer: newSlicer(cfg), EVE: meters(cfg),
	})

	people := newTable()
	deps := enrich.Deps{
		Store: memory.New(memory.Config{
			Max: cfg.Suspect.Max, Segments: detectSegments, Report: cfg.Report.Window, Inactive: cfg.Suspect.Inactive, Rank: rank(scorer),
		}),
		Scorer: scorer, Workers: cfg.Prober.Concurrency,
	}
	if lists != nil {
		deps.Lists = lists
	}
	deps.PoolName, deps.Resolver = shippedNames(lists).known, within(cfg.Network.Resolvers)
	remarks, err := newRemarks(cfg.Lists)
	if err != nil {
		return usageError{err}
	}
	if remarks != nil {
		deps.Remark = remarks.remark
	}
	if o.json {
		deps.Sinks = append(deps.Sinks, ndjson.NewStream(e.stdout))
	} else {
		deps.Sinks = append(deps.Sinks, people)
	}
	deps.Sinks = append(deps.Sinks, o.sinks...)
	var closers []io.Closer
	if o.out != "" {
		out, err := ndjson.Append(o.out)
		if err != nil {
			return err
		}
		closers = append(closers, out)
		deps.Sinks = append(deps.Sinks, out)
	}
	ours := newOurs(cfg)
	if o.probe == "auto" {
		log, err := openAudit(cfg.Prober.Audit)
		if err != nil {
			return err
		}
		closers = append(closers, log)
		p, err := newProber(cfg, log, nil, func(err error) { say(e.stderr, "%v", err) })
		if err != nil {
			return err
		}
		deps.Verifier, ours.made = p, p.Made
	}
	if o.feed != "" {
		marks, err := resolver.LoadMarks(cfg.Catalogue.Marks...)
		if err != nil {
			return usageError{err}
		}
		publisher, err := newPublisher(cfg, feedHooks{refuse: lists.refuse, mark: feedMark(marks, nil)})
		if err != nil {
			return err
		}
		deps.Publisher = publisher
	}
	warnAllowed(e.stderr, cfg)
	engine := enrich.New(engineConfig(cfg, true), deps)

	began := time.Now()
	stop := progress(e.stderr, func() (string, float64) {
		c := stage.Counts()
		done := -1.0
		if size, known := src.Size(); known && size > 0 {
			done = float64(src.Done()) / float64(size)
		}
		text := fmt.Sprintf("%d records", c.Records)
		if asked, waiting := engine.Asking(); asked+waiting > 0 {
			text += fmt.Sprintf(", %d asked, %d to ask", asked, waiting)
		}
		return text, done
	})
	err = pump(ctx, src, stage, engine, ours, nil)
	stop()
	for _, c := range closers {
		err = errors.Join(err, c.Close())
	}
	if err := errors.Join(err, bad.close()); err != nil {
		return err
	}
	took := time.Since(began)
	counts, stats := stage.Counts(), engine.Stats()
	if !o.json {
		if err := people.print(e.stdout, e.colour(e.stdout), o.nothing(counts, stats)); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	summary(e.stderr, counts, stats, deps.Store.Stats(), took)
	if !o.suspects && stats.Suspected > 0 {
		hint := ""
		if o.probe == "off" {
			hint = ", --probe auto asks their servers"
		}
		say(e.stderr, "%s by score alone not shown; --suspects shows them%s", counted(stats.Suspected, "suspect"), hint)
	}
	if len(unread) > 0 && counts.Lines == 0 {
		return errors.New("nothing could be read")
	}
	if decode.Total(counts.Bad) > 0 || len(unread) > 0 {
		return errPartial
	}
	return nil
}

// nothing says what it means that nobody is reported.
func (o detectOptions) nothing(c decode.Counts, s enrich.Stats) string {
	switch {
	case c.Records == 0:
		return "no connection records found"
	case s.Suspected > 0 && !o.suspects:
		return fmt.Sprintf("no proven miners; %s by score alone (--suspects)", counted(s.Suspected, "suspect"))
	}
	return "no miners found"
}

// config gives the configuration that the flags describe, checked as a file would be.
func (o detectOptions) config() (*config.Config, error) {
	cfg := config.Default()
	var err error
	if cfg.Prober.Allow, err = prefixes("--allow-probe", o.allowProbe); err != nil {
		return nil, err
	}
	if cfg.Feed.Allow, err = prefixes("--allow-feed", o.allowFeed); err != nil {
		return nil, err
	}
	if cfg.Network.Local, err = prefixes("--local", o.local); err != nil {
		return nil, err
	}
	switch {
	case o.probe != "off" && o.probe != "auto":
		return nil, usagef("--probe: %q is neither off nor auto", o.probe)
	case o.format != "auto" && form(o.format) == consumer.FormUnknown:
		return nil, usagef("--format: %q is none of auto, %s", o.format, forms())
	case !slices.Contains(score.Names(), o.scorer):
		return nil, usagef("--scorer: %q is none of %s", o.scorer, strings.Join(score.Names(), ", "))
	case !(o.threshold >= 0 && o.threshold <= 1000):
		return nil, usagef("--threshold: %g is not within 0 and 1000", o.threshold)
	case o.scorer == "nemea" && o.threshold > 10:
		return nil, usagef("--threshold: %g is more than nemea gives at most (10)", o.threshold)
	}
	if o.feed != "" && o.probe == "off" {
		return nil, usagef("--feed: only what a probe confirms enters a feed; give --probe auto as well")
	}
	cfg.Score.Scorer, cfg.Score.Threshold = o.scorer, o.threshold
	cfg.Input.Format, cfg.Input.DeadLetter = o.format, o.deadLetter
	cfg.Lists.Allow, cfg.Lists.Block = o.allow, o.block
	cfg.Report.Suspected = o.suspects
	cfg.Feed.Dir = o.feed
	cfg.Prober.Audit = o.audit
	return cfg, nil
}

// notInput refuses to write into a file that is read.
func notInput(inputs []string, outputs map[string]string) error {
	for _, pattern := range inputs {
		names, err := filepath.Glob(pattern)
		if err != nil {
			continue // the source tells of a bad pattern
		}
		for _, name := range append(names, pattern) {
			in, err := os.Stat(name)
			if err != nil {
				continue
			}
			for flag, output := range outputs {
				if out, err := os.Stat(output); err == nil && os.SameFile(in, out) {
					return usagef("%s: %s is also read", flag, output)
				}
			}
		}
	}
	return nil
}

func prefixes(flag string, values []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, v := range values {
		p, err := netip.ParsePrefix(strings.TrimSpace(v))
		if err != nil {
			a, aerr := netip.ParseAddr(strings.TrimSpace(v))
			if aerr != nil {
				return nil, usagef("%s: %q is no network (want 192.0.2.0/24)", flag, v)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		switch {
		case p.Bits() == 0:
			return nil, usagef("%s: %q is every address there is", flag, v)
		case p != p.Masked():
			return nil, usagef("%s: %q has bits of a host; the network is %s", flag, v, p.Masked())
		}
		out = append(out, p)
	}
	return out, nil
}

// forms gives the names of all forms, separated by commas.
func forms() string {
	var names []string
	for _, f := range consumer.Forms() {
		names = append(names, f.String())
	}
	return strings.Join(names, ", ")
}

func form(name string) consumer.Form {
	for _, f := range consumer.Forms() {
		if f.String() == name {
			return f
		}
	}
	return consumer.FormUnknown
}

// rank says who goes first when the store is full: those with the lowest score, marked ones last.
func rank(s score.Scorer) func(*enrich.Suspect) float64 {
	return func(v *enrich.Suspect) float64 {
		best := 0.0
		for i := range v.Segments {
			best = max(best, s.Points(v.Server.Port, &v.Segments[i].Aggregate))
		}
		if v.Marked {
			best += 1000
		}
		if slices.ContainsFunc(v.Segments, func(s enrich.Segment) bool { return s.Reports > 0 }) {
			best += 2000 // forgotten, it would be reported again
		}
		return best
	}
}

// summary tells what a run did.
func summary(w io.Writer, c decode.Counts, s enrich.Stats, st enrich.StoreStats, took time.Duration) {
	rate := float64(c.Records) / max(took.Seconds(), 1e-9)
	say(w, "%d records, %d skipped%s, %d bad%s; %d packets, %d IP bytes", c.Records, decode.Total(c.Skipped), list(c.Skipped),
		decode.Total(c.Bad), list(c.Bad), c.Packets, c.IPBytes)
	if c.Sighted > 0 {
		say(w, "%s of payloads, names and alerts", counted(int(c.Sighted), "line"))
	}
	say(w, "%d slices, %d suspects%s, %d probed%s", c.Slices, st.Suspects, dropped(st.Dropped), s.Asked, list(s.Verdicts))
	if c.NoFlags > 0 {
		say(w, "%s without TCP flags, or of sampled packets, which no score can judge (nfdump: -o csv-fast has flags)",
			counted(int(c.NoFlags), "flow"))
	}
	if s.Pushed > 0 {
		say(w, "%d endpoints were not asked because the queue of questions was full", s.Pushed)
	}
	if st.Joined > 0 {
		say(w, "%d report windows were joined with younger ones, as a suspect had more than %d", st.Joined, detectSegments)
	}
	say(w, "hits: %d confirmed, %d known, %d suspected; %.1f s, %.0f records/s",
		s.Hits[minecanary.HitConfirmed], s.Hits[minecanary.HitKnown], s.Hits[minecanary.HitSuspected], took.Seconds(), rate)
}

// list writes counts as " (3 ssl, 1 dns)", the largest first; "" if there are none.
func list[K ~string](m map[K]uint64) string {
	if len(m) == 0 {
		return ""
	}
	keys := slices.SortedFunc(maps.Keys(m), func(a, b K) int {
		return cmp.Or(cmp.Compare(m[b], m[a]), cmp.Compare(a, b))
	})
	parts := make([]string, len(keys))
	for i, k := range keys {
		parts[i] = fmt.Sprintf("%d %s", m[k], k)
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

func dropped(n uint64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" (%d dropped at the bound)", n)
}
