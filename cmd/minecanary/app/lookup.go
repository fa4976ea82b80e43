package app

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/cmd/minecanary/config"
	"github.com/minecanary/minecanary/intel/history"
	"github.com/minecanary/minecanary/intel/lookup"
	"github.com/minecanary/minecanary/intel/resolver"
)

// historyFile is the history's name in state.dir.
const historyFile = "history.db"

type lookupOptions struct {
	ask     askOptions
	json    bool
	all     bool
	at      string
	limit   int
	files   []string
	own     []string
	history string
	flows   bool
	format  string
	local   []string
}

// lookupLimit is how many matches one question has unless told otherwise.
const lookupLimit = 100

func newLookup(e env) *cobra.Command {
	o := lookupOptions{limit: lookupLimit}
	c := &cobra.Command{
		Use:   "lookup [flags] QUESTION…",
		Short: "tell whether names, addresses or ports are known pools",
		Long: `Lookup asks the catalogue of known pools and its history; nobody else is asked. A question is

  pool.example.net  pool.example.net:3333  stratum+tcp://…   a name
  .example.net                                               a domain and all below
  192.0.2.1  192.0.2.1:3333  [2001:db8::1]:3333              an address
  192.0.2.0/24                                               a network
  3333                                                       a port
  monero                                                     words of pools' and coins' names

"-" reads questions from standard input, --file from files, one a line. Addresses of names come from the history that
serve and "catalogue sweep" write (--history); without it only names, ports and words are known. While a service runs the
history is its own, and it is asked over its API: the one at api.listen of -c, or 127.0.0.1:9480; --api or $MINECANARY_API
name another one, and $MINECANARY_API_TOKEN holds a token if it wants one. --at asks about a time in the past.

With --flows the arguments are files of flows or connection records, in all forms that detect reads, and each flow to a
pool that was known at any time of the flow is told; --all tells the others as well. Pools are asked over TCP: flows of
UDP and ICMP are passed over.

Exit codes: 0 known (of several questions: answered), 1 a single question and not known, 2 usage, 3 failed, or some of what
was asked is no question, 130 interrupted.`,
		Example: `  minecanary lookup pool.supportxmr.com
  minecanary lookup -c /etc/minecanary/minecanary.yaml 203.0.113.7
  minecanary lookup --at 2026-03-03 --history /var/lib/minecanary/history.db 203.0.113.7:3333
  minecanary lookup --json --file addresses.txt
  minecanary lookup --flows --history /var/lib/minecanary/history.db flows.csv conn.log`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args)+len(o.files) == 0 {
				return errors.New("ask about a name, an address, a port or words")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if o.flows {
				return lookupFailed(runLookupFlows(c.Context(), e, o, args))
			}
			return lookupFailed(runLookup(c.Context(), e, o, args))
		},
	}
	askFlags(c, &o.ask)
	f := c.Flags()
	f.BoolVar(&o.json, "json", false, "print one JSON object per question or flow")
	f.StringVar(&o.at, "at", "", "time to ask about: 2026-03-03 or 2026-03-03T12:00:00Z")
	f.IntVar(&o.limit, "limit", o.limit, "matches of one question at most")
	f.StringSliceVar(&o.files, "file", nil, "read questions from these files, one a line")
	f.StringSliceVar(&o.own, "catalogue", nil, "catalogue files or folders of your own")
	f.StringVar(&o.history, "history", "", "history file; empty: that of -c, or "+historyFile+" in the state directory, if it is there")
	f.BoolVar(&o.flows, "flows", false, "the arguments are files of flows")
	f.BoolVar(&o.all, "all", false, "with --flows: print flows to unknown servers, too")
	f.StringVar(&o.format, "format", "auto", "with --flows: form of the input: auto, "+forms())
	f.StringSliceVar(&o.local, "local", nil, "with --flows: our networks (CIDR); replaces the log's own local flags")
	complete(c, "format", append([]string{"auto"}, strings.Split(forms(), ", ")...)...)
	return c
}

// parseAt reads a day or a moment; "" is the zero time.
func parseAt(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usagef("--at: %q is neither a day (2026-03-03) nor a time (2026-03-03T12:00:00Z)", s)
}

// errNotKnown is the answer to a single question; it has been told.
var errNotKnown = errors.New("not known")

// lookupFailed gives a failure its exit code: 1 says that nothing is known.
func lookupFailed(err error) error {
	if _, usage := errors.AsType[usageError](err); err == nil || usage || errors.Is(err, errNotKnown) {
		return err
	}
	return codedError{err, ExitPartial}
}

// sources are the files that answer.
type sources struct {
	cfg *config.Config
	// history must be there if named is set.
	history string
	named   bool
	// state has the edits of the catalogue; own and marks are files of the user's.
	state      string
	own, marks []string
}

// sources reads where the files are from the flags.
func (o *lookupOptions) sources() (sources, error) {
	cfg, err := o.ask.load()
	if err != nil {
		return sources{}, err
	}
	s := sources{
		cfg: cfg, history: cfg.HistoryFile(), state: cfg.State.Dir, own: slices.Concat(cfg.Catalogue.Files, o.own), marks: cfg.Catalogue.Marks,
	}
	if o.history != "" {
		s.history, s.named = o.history, true
		if o.ask.config == "" {
			s.state = filepath.Dir(o.history)
		}
	}
	return s, nil
}

// lockPatience is how long a history may be in use before a service is looked for. Another lookup is done sooner.
const lockPatience = 100 * time.Millisecond

// readIndex makes the index of catalogue and history; partial is errPartial if rows of the user's own files are wrong. The
// error wraps history.ErrInUse if another process has the history open for longer than patience.
func readIndex(stderr io.Writer, s sources, patience time.Duration) (x *lookup.Index, partial, err error) {
	known, partial := readCatalogue(stderr, s.own, s.state)
	if known == nil {
		return nil, nil, partial
	}
	x = lookup.New(known)
	if _, err := os.Stat(s.history); !s.named && errors.Is(err, fs.ErrNotExist) {
		return x, partial, nil
	} else if err != nil {
		return nil, nil, fmt.Errorf("history: %w", err)
	}
	db, err := history.Open(s.history, history.Options{LockTimeout: patience})
	if err != nil {
		return nil, nil, err
	}
	marks, err := resolver.LoadMarks(s.marks...)
	if marks != nil && err != nil { // as the service does
		say(stderr, "catalogue.marks: %v", err)
		err = nil
	}
	if err == nil {
		err = db.View(func(v *history.View) error { return x.Load(v, marker(marks)) })
	}
	if err := errors.Join(err, db.Close()); err != nil {
		return nil, nil, err
	}
	return x, partial, nil
}

// answering answers questions, from files of this machine or by a service.
type answering struct {
	// find answers up to batch questions about one time in their order, each with at most limit matches.
	find  func(ctx context.Context, questions []lookup.Query, limit int) ([]lookup.Result, error)
	batch int
	// index is nil if a service answers.
	index *lookup.Index
}

func byIndex(x *lookup.Index) answering {
	return answering{index: x, batch: 1, find: func(_ context.Context, questions []lookup.Query, limit int) ([]lookup.Result, error) {
		out := make([]lookup.Result, len(questions))
		for i, q := range questions {
			out[i] = x.Find(q, limit)
		}
		return out, nil
	}}
}

func byService(r *remote) answering { return answering{find: r.find, batch: remoteBatch} }

// answering finds who answers: the service that is named, else the files, unless a service has the history open.
func (o *lookupOptions) answering(ctx context.Context, e env) (a answering, partial, err error) {
	files := o.history != "" || len(o.own) > 0 || o.ask.config != ""
	if o.ask.api != "" && files {
		return a, nil, usagef("--api asks a service; --history, --catalogue and --config are for files of this machine")
	}
	if !files {
		if r, err := o.ask.named(e); r != nil || err != nil {
			return byService(r), nil, err
		}
	}
	s, err := o.sources()
	if err != nil {
		return a, nil, err
	}
	x, partial, err := readIndex(e.stderr, s, lockPatience)
	if !errors.Is(err, history.ErrInUse) && !errors.Is(err, fs.ErrPermission) {
		return byIndex(x), partial, err
	}
	if len(o.own) > 0 {
		return a, nil, hintError{err, "the service that has it open does not know the files of --catalogue"}
	}
	r, unreachable := o.ask.inUse(ctx, e, s.cfg)
	if unreachable == nil {
		return byService(r), nil, nil
	}
	if errors.Is(err, history.ErrInUse) {
		x, partial, err = readIndex(e.stderr, s, history.DefaultLockTimeout)
	}
	if err != nil {
		return a, nil, hintError{err, fmt.Sprintf("a running service would be asked, but: %v; --api or $%s names another one", unreachable, envAPI)}
	}
	return byIndex(x), partial, nil
}

func runLookup(ctx context.Context, e env, o lookupOptions, args []string) error {
	at, err := parseAt(o.at)
	if err != nil {
		return err
	}
	if o.all || o.format != "auto" || len(o.local) > 0 {
		return usagef("--all, --format and --local are for --flows")
	}
	if o.limit < 1 || o.limit > 1_000_000 {
		return usagef("--limit: %d is not within 1 and 1000000", o.limit)
	}
	a, partial, err := o.answering(ctx, e)
	if err != nil {
		return err
	}
	t := telling{answering: a, out: bufio.NewWriter(e.stdout), json: o.json, limit: o.limit}
	ask := func(where, text string) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		q, err := lookup.Parse(text)
		if err != nil {
			say(e.stderr, "%s%v", where, err)
			partial = errPartial
			return nil
		}
		q.At = at
		return t.ask(ctx, q)
	}
	if err = eachOf(e.stdin, args, o.files, ask); err == nil {
		err = t.answer(ctx)
	}
	if err := errors.Join(err, t.out.Flush()); err != nil {
		return err
	}
	if t.addresses > 0 && a.index != nil && a.index.Addresses() == 0 {
		say(e.stderr, "no name has an address yet: minecanary catalogue sweep looks them up, --history names another history")
	}
	switch {
	case partial != nil:
		return partial
	case t.asked == 1 && t.known == 0:
		return errNotKnown
	case t.asked > 1:
		say(e.stderr, "%s, %d known", counted(t.asked, "question"), t.known)
	}
	return nil
}

// telling asks questions and prints the answers in their order.
type telling struct {
	answering
	out   *bufio.Writer
	json  bool
	limit int
	// waiting are questions that were not asked yet.
	waiting []lookup.Query
	// asked and known count questions, addresses those of addresses and networks that are not known.
	asked, known, addresses int
}

// ask takes a question, and asks when there are enough for a batch.
func (t *telling) ask(ctx context.Context, q lookup.Query) error {
	if t.waiting = append(t.waiting, q); len(t.waiting) < t.batch {
		return nil
	}
	return t.answer(ctx)
}

// answer asks what waits and prints the answers.
func (t *telling) answer(ctx context.Context) error {
	if len(t.waiting) == 0 {
		return nil
	}
	questions := t.waiting
	t.waiting = nil
	results, err := t.find(ctx, questions, t.limit)
	if err != nil {
		return err
	}
	// A name may be known with other ports.
	var bare []lookup.Query
	for i, q := range questions {
		if !results[i].Known && q.Kind == lookup.ByName && q.Port != 0 && !t.json {
			bare = append(bare, lookup.Query{Text: q.Name, Kind: q.Kind, Name: q.Name, At: q.At})
		}
	}
	pools := map[string]string{}
	if len(bare) > 0 {
		others, err := t.find(ctx, bare, 1)
		if err != nil {
			return err
		}
		for i, r := range others {
			if r.Known {
				pools[bare[i].Name] = r.Matches[0].PoolName
			}
		}
	}
	for i, r := range results {
		if err := t.print(questions[i], r, pools[questions[i].Name]); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	return nil
}

// print prints an answer; pool has the name of the question, with other ports, if it is not "".
func (t *telling) print(q lookup.Query, r lookup.Result, pool string) error {
	t.asked++
	if r.Known {
		t.known++
	} else if q.Kind == lookup.ByAddress || q.Kind == lookup.ByPrefix {
		t.addresses++
	}
	switch {
	case t.json:
		return json.NewEncoder(t.out).Encode(r)
	case !r.Known && pool != "":
		_, err := fmt.Fprintf(t.out, "%s: not known; the name is %s's, with other ports\n", r.Query, plain(pool))
		return err
	}
	return printAnswer(t.out, r)
}

func printAnswer(w io.Writer, r lookup.Result) error {
	if !r.Known {
		_, err := fmt.Fprintf(w, "%s: not known\n", r.Query)
		return err
	}
	more := ""
	if r.More {
		more = " and more (--limit)"
	}
	fmt.Fprintf(w, "%s: %s%s\n", r.Query, counted(len(r.Matches), "endpoint"), more) // errors show at the end
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i := range r.Matches {
		m := &r.Matches[i]
		pool := m.PoolName
		if pool == "" {
			pool = "(not in the catalogue)"
		}
		how := "plain"
		if m.TLS {
			how = "tls"
		}
		_, err := fmt.Fprintf(t, "  %s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n",
			plain(pool), dash(m.Server), plain(address(m)), m.Port, how, dash(m.Coin), dash(m.Dialect), plain(known(m)), plain(source(m)))
		if err != nil {
			return err
		}
	}
	return t.Flush()
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return plain(s)
}

func address(m *lookup.Match) string {
	if !m.Address.IsValid() {
		return "-"
	}
	if m.Mark != "" {
		return m.Address.String() + " (" + m.Mark + ")"
	}
	return m.Address.String()
}

func known(m *lookup.Match) string {
	switch {
	case m.Status == minecanary.Confirmed:
		return "confirmed " + day(m.LastProof)
	case m.Status != "" && !m.LastProof.IsZero():
		return string(m.Status) + ", proved " + day(m.LastProof)
	case m.Status != "":
		return string(m.Status) + " " + day(m.LastSeen)
	case !m.LastProof.IsZero():
		return "proved " + day(m.LastProof)
	}
	return "not asked"
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

func source(m *lookup.Match) string {
	if m.Source == "" {
		return "-"
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s %s", m.Confidence, m.AsOf, m.Source))
}
