package app

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/cmd/minecanary/config"
	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/intel/history"
	"github.com/minecanary/minecanary/intel/lookup"
	"github.com/minecanary/minecanary/intel/resolver"
	"github.com/minecanary/minecanary/intel/sweep"
)

// marker gives the words of marks.
func marker(m *resolver.Marks) lookup.Marker {
	return func(addr netip.Addr, chain []string) string { return string(m.Of(addr, chain).Kind) }
}

// editsFile is the name of the catalogue's edits in state.dir.
const editsFile = "catalogue.yaml"

// directory is the catalogue with all that belongs to it: what users changed, the history, the answers.
type directory struct {
	cfg      *config.Config
	register *catalog.Register
	index    *lookup.Index
	history  *history.DB
	marks    *resolver.Marks
	mark     lookup.Marker
	resolver *resolver.Resolver
	sweeper  *sweep.Sweeper
	// share is what processes that sweep together have in common; nil for one alone.
	share sweep.Share
	warn  func(error)
	// filesSeen is the stamp of catalogue.files as they were read.
	filesSeen string
}

// openDirectory reads catalogue, edits and history. warn hears of wrong rows and of what fails later.
func openDirectory(cfg *config.Config, warn func(error)) (_ *directory, err error) {
	d := &directory{cfg: cfg, warn: warn, filesSeen: stampOf(cfg.Catalogue.Files)}
	base, err := catalogueLayers(cfg.Catalogue.Files, warn)
	if err != nil {
		return nil, err
	}
	edits := catalog.NewEdits(filepath.Join(cfg.State.Dir, editsFile))
	if err := edits.Open(); err != nil {
		return nil, err
	}
	d.index = lookup.New(catalog.New())
	d.register = catalog.NewRegister(edits, d.index.SetCatalog, base...)
	marks, err := resolver.LoadMarks(cfg.Catalogue.Marks...)
	if marks == nil {
		return nil, fmt.Errorf("catalogue.marks: %w", err)
	}
	if err != nil {
		warn(fmt.Errorf("catalogue.marks: %w", err))
	}
	d.marks, d.mark = marks, marker(marks)
	if d.history, err = history.Open(cfg.HistoryFile(), history.Options{}); err != nil {
		return nil, err
	}
	err = d.history.View(func(v *history.View) error { return d.index.Load(v, d.mark) })
	if err != nil {
		return nil, errors.Join(err, d.history.Close())
	}
	return d, nil
}

// catalogueLayers reads the shipped catalogue and files.
func catalogueLayers(files []string, warn func(error)) ([]catalog.Layer, error) {
	shipped, problems := catalog.Shipped()
	own, bad, err := catalog.Load(files...)
	if err != nil {
		return nil, err
	}
	for _, p := range append(problems, bad...) {
		warn(p)
	}
	return []catalog.Layer{shipped, own}, nil
}

// sweep makes the sweeper. Names are looked up and endpoints asked (by the verifier, if there is one) if the
// configuration says so, or always if all is set.
func (d *directory) sweep(verifier sweep.Verifier, all bool, warn func(error)) error {
	c := d.cfg.Catalogue
	cfg := sweep.Config{
		Catalog: d.register.Current, Book: d.history, Index: d.index, Mark: d.mark, ResolveEvery: c.ResolveEvery, ProbeEvery: c.ProbeEvery,
		PerSecond: d.cfg.Prober.CataloguePerSec, Share: d.share, Warn: warn,
	}
	if c.Resolve || all {
		r, err := resolver.New(resolver.Config{Servers: c.DNS, PerZone: c.PerZone})
		if err != nil {
			return usageError{fmt.Errorf("catalogue.dns: %w", err)}
		}
		d.resolver, cfg.Resolver = r, r
	}
	if c.Probe {
		cfg.Verifier = verifier
	}
	d.sweeper = sweep.New(cfg)
	return nil
}

// daily is how often the history is pruned and backed up.
const daily = 24 * time.Hour

// keep keeps the history within its bound, and a copy of it, until the context ends.
func (d *directory) keep(ctx context.Context, warn func(error)) error {
	every := time.NewTicker(daily)
	defer every.Stop()
	for {
		if file := d.cfg.Catalogue.Backup; file != "" {
			if info, err := os.Stat(file); err != nil || time.Since(info.ModTime()) >= daily-time.Minute {
				if err := d.history.BackupFile(file); err != nil {
					warn(fmt.Errorf("catalogue.backup: %w", err))
				}
			}
		}
		before := time.Now().Add(-d.cfg.Catalogue.Retention)
		if _, err := d.history.Prune(ctx, before); err != nil && ctx.Err() == nil {
			warn(fmt.Errorf("history: %w", err))
		} else if err == nil {
			d.index.Prune(before)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
	}
}

// Close closes the history.
func (d *directory) Close() error {
	err := d.history.Close()
	if d.resolver != nil {
		err = errors.Join(err, d.resolver.Close())
	}
	return err
}

type sweepOptions struct {
	state   string
	probe   bool
	contact string
	dns     []string
	own     []string
	allow   []string
}

func newCatalogueSweep(e env) *cobra.Command {
	defaults := config.Default()
	o := sweepOptions{state: defaults.State.Dir}
	c := &cobra.Command{
		Use:   "sweep [flags] [POOL…]",
		Short: "look the names of the catalogue up now, and with --probe ask its endpoints",
		Long: `Sweep looks up the names of all pools, or of those that are named by their id, and writes what it finds into the history
in the state directory. With --probe it asks the endpoints as well, one after the other within two a second: these are
other people's servers, so --contact is needed. Serve does both on a schedule (catalogue.resolve, catalogue.probe); while
it runs the history is its own.

To whoever watches DNS this machine looks like one with miners while names are looked up.`,
		Example: `  minecanary catalogue sweep
  minecanary catalogue sweep --dns 192.0.2.53 supportxmr
  minecanary catalogue sweep --probe --contact noc@example.org supportxmr`,
		RunE: func(c *cobra.Command, args []string) error { return runSweep(c.Context(), e, o, args) },
	}
	f := c.Flags()
	f.StringVar(&o.state, "state", o.state, "state directory: history, edits and the audit trail are there")
	f.BoolVar(&o.probe, "probe", false, "ask the endpoints, too")
	f.StringVar(&o.contact, "contact", "", "mail address or page that the probed find you by")
	f.StringSliceVar(&o.dns, "dns", nil, "DNS servers to ask; empty: the system's")
	f.StringSliceVarP(&o.own, "file", "f", nil, "catalogue files or folders of your own, added to the shipped catalogue")
	f.StringSliceVar(&o.allow, "allow-probe", nil, "networks (CIDR) that may be probed although they are not public")
	return c
}

func runSweep(ctx context.Context, e env, o sweepOptions, pools []string) (err error) {
	cfg := config.Default()
	cfg.State.Dir, cfg.Catalogue.Files, cfg.Catalogue.DNS, cfg.Catalogue.Probe, cfg.Prober.Contact = o.state, o.own, o.dns, o.probe, o.contact
	if cfg.Prober.Allow, err = prefixes("--allow-probe", o.allow); err != nil {
		return err
	}
	if err := cfg.Validate(); err != nil {
		return usageError{err}
	}
	if err := os.MkdirAll(cfg.State.Dir, 0o750); err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	warned := 0
	warn := func(err error) { warned++; say(e.stderr, "%v", err) }
	d, err := openDirectory(cfg, warn)
	if errors.Is(err, history.ErrInUse) {
		return hintError{err, "serve sweeps by itself with catalogue.resolve; --state names another folder"}
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	var verifier sweep.Verifier
	if o.probe {
		warnAllowed(e.stderr, cfg)
		trail, err := openAudit(cfg.AuditFile())
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, trail.Close()) }()
		if verifier, err = newProber(cfg, trail, nil, warn); err != nil {
			return err
		}
	}
	if err := d.sweep(verifier, true, warn); err != nil {
		return err
	}
	known := d.register.Current()
	var names []string
	for _, id := range pools {
		if known.Pool(id) == nil {
			return hintError{fmt.Errorf("the catalogue has no pool %q", id), "minecanary catalogue list shows the ids"}
		}
	}
	chosen := func(id string) bool { return len(pools) == 0 || slices.Contains(pools, id) }
	for _, host := range known.Hosts() {
		if slices.ContainsFunc(known.Host(host), func(r catalog.Row) bool { return chosen(r.Pool.ID) && r.Server.Name != "" }) {
			names = append(names, host)
		}
	}
	stop := progress(e.stderr, func() (string, float64) {
		s := d.sweeper.Status()
		n := uint64(0)
		for _, c := range s.Probed {
			n += c
		}
		text := fmt.Sprintf("%d of %s looked up", s.Resolved, counted(len(names), "name"))
		if o.probe {
			text += fmt.Sprintf(", %s asked", counted(int(n), "endpoint"))
		}
		return text, float64(s.Resolved) / float64(max(len(names), 1))
	})
	err = d.sweeper.Resolve(ctx, names...)
	if err == nil && o.probe {
		err = d.sweeper.Ask(ctx, d.endpoints(chosen)...)
	}
	stop()
	if err != nil {
		return err
	}
	s := d.sweeper.Status()
	say(e.stderr, "%s looked up, %d failed; %s on the schedule", counted(int(s.Resolved), "name"), s.Unresolved, counted(s.Endpoints, "endpoint"))
	for _, status := range []minecanary.VerdictStatus{
		minecanary.Confirmed, minecanary.Node, minecanary.NotPool, minecanary.Inconclusive, minecanary.Blocked,
	} {
		if n := s.Probed[status]; n > 0 {
			say(e.stderr, "%s: %d", status, n)
		}
	}
	if warned > 0 {
		return errPartial
	}
	return nil
}

// endpoints gives the endpoints of pools on the addresses that their names have now.
func (d *directory) endpoints(chosen func(pool string) bool) []minecanary.Endpoint {
	now := time.Now()
	known := d.register.Current()
	seen := map[minecanary.Endpoint]bool{}
	var out []minecanary.Endpoint
	add := func(addr netip.Addr, port uint16) {
		if ep := minecanary.NewEndpoint(addr, port, minecanary.TCP); port != 0 && !seen[ep] {
			seen[ep] = true
			out = append(out, ep)
		}
	}
	for _, host := range known.Hosts() {
		for _, r := range known.Host(host) {
			if !chosen(r.Pool.ID) {
				continue
			}
			if r.Server.Address.IsValid() {
				add(r.Server.Address, r.Endpoint.Port)
			}
			for _, a := range d.index.AddressesOf(r.Server.Name, now) {
				if a.Mark == "" {
					add(a.Addr, r.Endpoint.Port)
				}
			}
		}
	}
	return out
}
