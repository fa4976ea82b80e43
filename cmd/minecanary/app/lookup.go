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
serve and "catalogue sweep" write (--history); without it only names, ports and words are known. --at asks about a time
in the past.

With --flows the arguments are files of flows or connection records, in all forms that detect reads, and each flow to a
pool that was known at any time of the flow is told; --all tells the others as well. Pools are asked over TCP: flows of
UDP and ICMP are passed over.

Exit code 1 with a single question means that nothing is known, 3 that some of what was asked is no question.`,
		Example: `  minecanary lookup pool.supportxmr.com
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
				return runLookupFlows(c.Context(), e, o, args)
			}
			return runLookup(c.Context(), e, o, args)
		},
	}
	f := c.Flags()
	f.BoolVar(&o.json, "json", false, "print one JSON object per question or flow")
	f.StringVar(&o.at, "at", "", "time to ask about: 2026-03-03 or 2026-03-03T12:00:00Z")
	f.IntVar(&o.limit, "limit", o.limit, "matches of one question at most")
	f.StringSliceVar(&o.files, "file", nil, "read questions from these files, one a line")
	f.StringSliceVar(&o.own, "catalogue", nil, "catalogue files or folders of your own")
	f.StringVar(&o.history, "history", "", "history file; empty: "+historyFile+" in the state directory, if it is there")
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

// readIndex makes the index of catalogue and history; partial is errPartial if rows of the user's own files are wrong.
func readIndex(stderr io.Writer, own []string, file string) (x *lookup.Index, partial, err error) {
	asked := file != ""
	if !asked {
		file = filepath.Join(config.Default().State.Dir, historyFile)
	}
	known, partial := readCatalogue(stderr, own, filepath.Dir(file))
	if known == nil {
		return nil, nil, partial
	}
	x = lookup.New(known)
	if _, err := os.Stat(file); !asked && errors.Is(err, fs.ErrNotExist) {
		return x, partial, nil
	} else if err != nil {
		return nil, nil, fmt.Errorf("history: %w", err)
	}
	db, err := history.Open(file, history.Options{})
	if errors.Is(err, history.ErrInUse) {
		return nil, nil, hintError{err, "a running service answers at its api.listen: /api/v1/lookup?q="}
	}
	if err != nil {
		return nil, nil, err
	}
	marks, err := resolver.LoadMarks()
	if err == nil {
		err = db.View(func(v *history.View) error { return x.Load(v, marker(marks)) })
	}
	if err := errors.Join(err, db.Close()); err != nil {
		return nil, nil, err
	}
	return x, partial, nil
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
	x, partial, err := readIndex(e.stderr, o.own, o.history)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(e.stdout)
	asked, known, addresses := 0, 0, 0
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
		r := x.Find(q, o.limit)
		asked++
		if r.Known {
			known++
		} else if q.Kind == lookup.ByAddress || q.Kind == lookup.ByPrefix {
			addresses++
		}
		if o.json {
			return json.NewEncoder(out).Encode(r)
		}
		if !r.Known && q.Kind == lookup.ByName && q.Port != 0 {
			// The name alone may be known, with other ports.
			if rows := x.Catalog().Host(q.Name); len(rows) > 0 {
				_, err := fmt.Fprintf(out, "%s: not known; the name is %s's, with other ports\n", r.Query, rows[0].Pool.Name)
				return err
			}
		}
		return printAnswer(out, r)
	}
	if err := eachOf(e.stdin, args, o.files, ask); err != nil {
		return errors.Join(err, out.Flush())
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if addresses > 0 && x.Addresses() == 0 {
		say(e.stderr, "no name has an address yet: minecanary catalogue sweep looks them up, --history names another history")
	}
	switch {
	case partial != nil:
		return partial
	case asked == 1 && known == 0:
		return errors.New("not known")
	case asked > 1:
		say(e.stderr, "%s, %d known", counted(asked, "question"), known)
	}
	return nil
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
			pool, dash(m.Server), address(m), m.Port, how, dash(m.Coin), dash(m.Dialect), known(m), source(m))
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
	return s
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
