package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/cmd/minecanary/config"
	"github.com/minecanary/minecanary/enrich/memory"
	"github.com/minecanary/minecanary/intel/feed"
	"github.com/minecanary/minecanary/intel/history"
	"github.com/minecanary/minecanary/intel/resolver"
)

// stateFile is the snapshot's name in state.dir.
const stateFile = "suspects.state"

func newFeed(e env) *cobra.Command {
	c := newFeedPrint(e)
	sub := newFeedPrint(e)
	sub.Use = "print [-c minecanary.yaml | --state DIR] --format FORMAT"
	c.Use = "feed"
	c.Short = "print the feed of confirmed pools, and look after the one that is published"
	c.Long = `Feed prints what a service with this state directory may publish now (as feed print does). Its sub-commands look after
the feed directory of a service: how the feed is, what changed, what waits for approval. They work beside the service and
do not talk to it.`
	c.AddCommand(sub, newFeedStatus(e), newFeedDiff(e), newFeedApprove(e))
	return c
}

// feedPrint is feed print: the gate of a service over the verdicts in its state directory.
type feedPrint struct {
	where         feedDir
	state, format string
	maxAge        time.Duration
	allow         []string
}

func newFeedPrint(e env) *cobra.Command {
	o := feedPrint{maxAge: config.Default().Feed.MaxAge}
	var formats []string
	for _, f := range feed.AllFormats() {
		if len(f.FileNames()) == 1 {
			formats = append(formats, string(f))
		}
	}
	c := &cobra.Command{
		Short: "print the feed of confirmed pools from a state directory",
		Long: `Print prints what a service with this state directory may publish now: confirmed endpoints whose proof is fresh, on
public addresses that are no CDN's and no resolver's. What is refused is told on standard error.

With -c it asks what the service asks: its own networks, its allow list, its marks and its catalogue. Without, it knows none of
them. What waits for approval in the feed directory (--dir, or feed.dir of the configuration) is left out.`,
		Example: "  minecanary feed print -c minecanary.yaml --format endpoints\n  minecanary feed print --state state --dir feed",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !slices.Contains(formats, o.format) {
				return usagef("--format: %q is none of %v", o.format, formats)
			}
			cfg, err := o.config(c.Flags().Changed)
			if err != nil {
				return err
			}
			verdicts, err := verdictsIn(c.Context(), cfg)
			if err != nil {
				return err
			}
			gate, err := o.gate(e, cfg)
			if err != nil {
				return err
			}
			held, err := o.held(cfg)
			if err != nil {
				return err
			}
			entries, refused := gate.Select(verdicts, time.Now())
			for _, r := range refused {
				say(e.stderr, "%s is left out: %s", r.Endpoint, strings.TrimSpace(fmt.Sprint(r.Reason, " ", r.Detail)))
			}
			entries = slices.DeleteFunc(entries, func(entry feed.Entry) bool {
				why, waits := held[entry.Endpoint]
				if waits {
					say(e.stderr, "%s is left out: it waits for approval, %s", entry.Endpoint, why)
				}
				return waits
			})
			return feed.Write(e.stdout, feed.Format(o.format), entries)
		},
	}
	f := c.Flags()
	o.where.flags(c)
	f.Lookup("config").Usage = "configuration file of the service, whose gate is used"
	f.Lookup("dir").Usage += "; what waits there is left out"
	f.StringVar(&o.state, "state", config.Default().State.Dir, "state directory of the service")
	f.StringVar(&o.format, "format", string(feed.ZeekIntel), strings.Join(formats, ", "))
	f.DurationVar(&o.maxAge, "max-age", o.maxAge, "greatest age of a proof")
	f.StringSliceVar(&o.allow, "allow-feed", nil, "networks (CIDR) that may be printed although they are not public")
	complete(c, "format", formats...)
	return c
}

// config gives the configuration of the service, the default one if none is named, with what the flags say instead.
func (o *feedPrint) config(changed func(flag string) bool) (*config.Config, error) {
	cfg, named := config.Default(), o.where.config != ""
	if named {
		var err error
		if cfg, err = loadConfig(o.where.config); err != nil {
			return nil, err
		}
	}
	if !named || changed("state") {
		cfg.State.Dir = o.state
	}
	if !named || changed("max-age") {
		cfg.Feed.MaxAge = o.maxAge
	}
	lifted, err := prefixes("--allow-feed", o.allow)
	cfg.Feed.Allow = slices.Concat(cfg.Feed.Allow, lifted)
	return cfg, err
}

// verdictsIn reads the verdicts of a state directory.
func verdictsIn(ctx context.Context, cfg *config.Config) ([]minecanary.Verdict, error) {
	file := filepath.Join(cfg.State.Dir, stateFile)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return nil, hintError{
			fmt.Errorf("%s holds no state (%s is missing)", cfg.State.Dir, stateFile),
			"--state takes the folder that state.dir names in the configuration of serve",
		}
	}
	store := memory.New(memory.Config{Report: cfg.Report.Window, Inactive: cfg.Suspect.Inactive, File: file})
	if err := store.Peek(); err != nil {
		return nil, err
	}
	return store.Verdicts(ctx)
}

// gate gives the gate of the service with this configuration; without one there is neither a list nor a catalogue.
func (o *feedPrint) gate(e env, cfg *config.Config) (feed.Gate, error) {
	marks, err := resolver.LoadMarks(cfg.Catalogue.Marks...)
	if marks == nil {
		return feed.Gate{}, fmt.Errorf("catalogue.marks: %w", err)
	}
	if err != nil { // as the service does
		say(e.stderr, "catalogue.marks: %v", err)
	}
	gate := feed.Gate{MaxAge: cfg.Feed.MaxAge, Own: cfg.Network.Local, Allow: cfg.Feed.Allow}
	if o.where.config == "" {
		gate.Mark = feedMark(marks, nil)
		return gate, nil
	}
	lists, err := readLists(cfg.Lists)
	if err != nil {
		return feed.Gate{}, err
	}
	index, partial, err := readIndex(e.stderr, sources{
		cfg: cfg, history: cfg.HistoryFile(), state: cfg.State.Dir, own: cfg.Catalogue.Files, marks: cfg.Catalogue.Marks,
	}, lockPatience)
	if errors.Is(err, history.ErrInUse) {
		return feed.Gate{}, hintError{err, "the service that has it open keeps the feed in feed.dir; without -c print asks neither lists nor the catalogue"}
	}
	if index == nil {
		return feed.Gate{}, errors.Join(err, partial)
	}
	gate.Refuse, gate.Mark, gate.Name = lists.refuse, feedMark(marks, index), feedName(index, marks, lists)
	return gate, nil
}

// held gives what waits for approval where the service publishes, and why.
func (o *feedPrint) held(cfg *config.Config) (map[minecanary.Endpoint]feed.HoldReason, error) {
	dir := cmp.Or(o.where.dir, cfg.Feed.Dir)
	if dir == "" {
		return nil, nil //nolint:nilnil // nobody publishes, so nothing waits
	}
	held, err := feed.ReadHeld(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if o.where.dir == "" {
			return nil, nil //nolint:nilnil // nobody has published there so far
		}
		return nil, noFeed(dir, err)
	}
	return held, err
}
