package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/changes"
	"github.com/minecanary/minecanary/intel/feed"
)

// shownHolds is how many entries that wait feed status lists for people; --json has all.
const shownHolds = 20

// feedDir is how the commands find the feed directory.
type feedDir struct{ dir, config string }

func (d *feedDir) flags(c *cobra.Command) {
	c.Flags().StringVar(&d.dir, "dir", "", "feed directory of the service, instead of the configuration's feed.dir")
	c.Flags().StringVarP(&d.config, "config", "c", "", "configuration file of the service; without it MINECANARY_… variables")
}

// find gives the feed directory, and the state directory if the configuration tells it.
func (d *feedDir) find() (dir, state string, err error) {
	if d.dir != "" {
		return d.dir, "", nil
	}
	cfg, err := loadConfig(d.config)
	if err != nil {
		return "", "", err
	}
	if cfg.Feed.Dir == "" {
		return "", "", hintError{usagef("the configuration has no feed.dir"), "--dir names the feed directory"}
	}
	return cfg.Feed.Dir, cfg.State.Dir, nil
}

// noFeed explains a directory where no service publishes.
func noFeed(dir string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return hintError{fmt.Errorf("no service has published to %s", dir), "--dir takes the folder that feed.dir names in the configuration of serve"}
	}
	return err
}

// feedStatus is what feed status --json prints.
type feedStatus struct {
	feed.Status
	Stale bool        `json:"stale"`
	Age   float64     `json:"age_seconds,omitempty"`
	Holds []feed.Hold `json:"holds"`
}

func newFeedStatus(e env) *cobra.Command {
	var where feedDir
	var asJSON, check bool
	c := &cobra.Command{
		Use:   "status [--dir DIR | -c minecanary.yaml]",
		Short: "tell how the published feed is",
		Long: `Status tells how many endpoints are published, what waits for approval and why, what was refused, and when the files were
last written. A feed is stale if it was not written for three heartbeats (feed.rewrite_every): sensors drop it then. With
--check the exit code is 1 if the feed is stale or something waits.`,
		Example: "  minecanary feed status -c minecanary.yaml\n  minecanary feed status --dir /var/lib/minecanary/feed --check",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			dir, _, err := where.find()
			if err != nil {
				return err
			}
			status, err := feed.ReadStatus(dir)
			if err != nil {
				return noFeed(dir, err)
			}
			holds, err := feed.ReadHolds(dir)
			if errors.Is(err, fs.ErrNotExist) { // nothing was ever published
				holds, err = []feed.Hold{}, nil
			}
			if err != nil {
				return err
			}
			now := time.Now()
			s := feedStatus{Status: status, Stale: status.Stale(now), Holds: holds}
			if !s.Written.IsZero() {
				s.Age = now.Sub(s.Written).Seconds()
			}
			if asJSON {
				err = json.NewEncoder(e.stdout).Encode(s)
			} else {
				_, err = io.WriteString(e.stdout, s.text(dir))
			}
			switch {
			case err != nil:
				return fmt.Errorf("write: %w", err)
			case check && s.Stale:
				return errors.New("the feed is stale")
			case check && len(holds) > 0:
				return hintError{fmt.Errorf("%s for approval", waits(len(holds))), "minecanary feed approve lets them in"}
			}
			return nil
		},
	}
	where.flags(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	c.Flags().BoolVar(&check, "check", false, "fail if the feed is stale or something waits for approval")
	return c
}

func waits(n int) string {
	if n == 1 {
		return "1 endpoint waits"
	}
	return fmt.Sprintf("%d endpoints wait", n)
}

// text is the status for people.
func (s feedStatus) text(dir string) string {
	var b strings.Builder
	row := func(key, format string, args ...any) {
		fmt.Fprintf(&b, "%-10s %s\n", key, fmt.Sprintf(format, args...))
	}
	row("feed", "%s, generation %d", dir, s.Generation)
	written := "never"
	if !s.Written.IsZero() {
		written = fmt.Sprintf("%s UTC, %s ago", minute(s.Written), time.Duration(s.Age*float64(time.Second)).Round(time.Second))
	}
	if s.Stale {
		written += " (STALE: sensors drop what is not rewritten)"
	}
	row("written", "%s", written)
	if s.Waiting {
		row("", "nothing was published since the service began; what follows is of the run before")
	}
	published := fmt.Sprintf("%s on %s", counted(s.Published, "endpoint"), plural(s.Addresses, "address", "addresses"))
	if s.Named > 0 {
		published += fmt.Sprintf(", %d by name", s.Named)
	}
	if s.Lifted > 0 {
		published += fmt.Sprintf(", %d not public (feed.allow)", s.Lifted)
	}
	row("published", "%s", published)
	row("refused", "%s", reasons(s.Refused))
	lost := strconv.Itoa(s.Lost) + " within 24 hours"
	if s.MassRemoval {
		lost += " (a large part of the feed: does the prober still reach the pools?)"
	}
	row("left", "%s", lost)
	for _, p := range s.Problems {
		row("problem", "%s", p)
	}
	row("held", "%d", len(s.Holds))
	for i, h := range s.Holds {
		if i == shownHolds {
			fmt.Fprintf(&b, "  and %d more (--json has all)\n", len(s.Holds)-i)
			break
		}
		fmt.Fprintf(&b, "  %s\n", heldLine(h))
	}
	return b.String()
}

// heldLine tells of an entry that waits.
func heldLine(h feed.Hold) string {
	s := h.Endpoint.String()
	if h.Name != "" {
		s += " as " + h.Name
	}
	s += fmt.Sprintf("  %s since %s UTC", h.Reason, minute(h.Since))
	if h.Hosts >= 0 {
		s += ", " + counted(h.Hosts, "host") + " within 24 hours"
	}
	return s
}

// reasons lists counts by reason.
func reasons(count map[feed.Reason]int) string {
	if len(count) == 0 {
		return "none"
	}
	var parts []string
	for _, r := range slices.Sorted(maps.Keys(count)) {
		parts = append(parts, fmt.Sprintf("%s %d", r, count[r]))
	}
	return strings.Join(parts, ", ")
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func newFeedDiff(e env) *cobra.Command {
	var where feedDir
	var asJSON bool
	since := int64(-1)
	c := &cobra.Command{
		Use:   "diff [--dir DIR | -c minecanary.yaml] [--since GENERATION]",
		Short: "tell what changed in the published feed, and what waits",
		Long: `Diff prints what the last change of the published feed brought, or all changes after a generation: + came, - left. What
waits for approval follows with ? and its reason: it would come if all of it was approved. A day of changes is remembered.`,
		Example: "  minecanary feed diff -c minecanary.yaml\n  minecanary feed diff --dir feed --since 12 --json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if c.Flags().Changed("since") && since < 0 {
				return usagef("--since: a generation is 0 or more")
			}
			dir, _, err := where.find()
			if err != nil {
				return err
			}
			d, err := feed.ReadDiff(dir, since)
			if err != nil {
				return noFeed(dir, err)
			}
			if asJSON {
				if err := json.NewEncoder(e.stdout).Encode(d); err != nil {
					return fmt.Errorf("write: %w", err)
				}
				return nil
			}
			var b strings.Builder
			for sign, changes := range map[string][]feed.Change{"+": d.Added, "-": d.Removed} {
				for _, c := range changes {
					fmt.Fprintf(&b, "%s %s\n", sign, strings.TrimSpace(c.Endpoint.String()+" "+c.Name))
				}
			}
			lines := slices.Sorted(strings.Lines(b.String()))
			for _, h := range d.Held {
				lines = append(lines, "? "+heldLine(h)+"\n")
			}
			if _, err := io.WriteString(e.stdout, strings.Join(lines, "")); err != nil {
				return fmt.Errorf("write: %w", err)
			}
			say(e.stderr, "generation %d to %d: %d came, %d left, %s for approval", d.Since, d.Generation, len(d.Added), len(d.Removed), waits(len(d.Held)))
			return nil
		},
	}
	where.flags(c)
	c.Flags().Int64Var(&since, "since", since, "tell all changes after this generation; without it the last one")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

func newFeedApprove(e env) *cobra.Command {
	var where feedDir
	var all bool
	c := &cobra.Command{
		Use:   "approve [--dir DIR | -c minecanary.yaml] --all | ENDPOINT…",
		Short: "let endpoints into the feed that are held back",
		Long: `Approve leaves word in the feed directory that endpoints which wait may be published, and prints them. The service picks
it up at its next rewrite (feed.rewrite_every) and logs who let what in. With a configuration it is noted in changes.ndjson
in state.dir as well. --all lets in what waits now, not what comes later.`,
		Example: "  minecanary feed approve -c minecanary.yaml 203.0.113.7:3333\n  minecanary feed approve --dir feed --all",
		RunE: func(_ *cobra.Command, args []string) error {
			if all == (len(args) > 0) {
				return usagef("name endpoints, or --all")
			}
			wanted := map[minecanary.Endpoint]bool{}
			for _, arg := range args {
				ep, err := minecanary.ParseEndpoint(arg)
				if err != nil {
					return usageError{err}
				}
				wanted[ep] = true
			}
			dir, state, err := where.find()
			if err != nil {
				return err
			}
			holds, err := feed.ReadHolds(dir)
			if err != nil {
				return noFeed(dir, err)
			}
			var chosen []minecanary.Endpoint
			for _, h := range holds {
				if all || wanted[h.Endpoint] {
					chosen = append(chosen, h.Endpoint)
					delete(wanted, h.Endpoint)
				}
			}
			for ep := range wanted {
				return hintError{fmt.Errorf("%s does not wait for approval", ep), "minecanary feed status lists what does"}
			}
			if len(chosen) == 0 {
				say(e.stderr, "nothing waits for approval")
				return nil
			}
			return approveFeed(e, dir, state, chosen)
		},
	}
	where.flags(c)
	c.Flags().BoolVar(&all, "all", false, "everything that waits now")
	return c
}

// approveFeed leaves word, and notes it in the journal if the state directory is known: first, for what cannot be noted is
// not done.
func approveFeed(e env, dir, state string, chosen []minecanary.Endpoint) error {
	who := shell()
	if state != "" {
		after, err := json.Marshal(chosen)
		if err != nil {
			return err
		}
		object := chosen[0].String()
		if len(chosen) > 1 {
			object = counted(len(chosen), "endpoint")
		}
		journal := changes.Open(filepath.Join(state, changes.FileName))
		if err := journal.Append(changes.Entry{Who: who, Action: "feed.approve", Object: object, After: after}); err != nil {
			return err
		}
	}
	if err := feed.Approve(dir, chosen, who, time.Now()); err != nil {
		return err
	}
	for _, ep := range chosen {
		if _, err := fmt.Fprintln(e.stdout, ep); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	say(e.stderr, "%s approved; the service publishes at its next rewrite", counted(len(chosen), "endpoint"))
	return nil
}
