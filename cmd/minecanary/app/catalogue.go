package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/minecanary/minecanary/cmd/minecanary/config"
	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/intel/history"
)

func newCatalogue(e env) *cobra.Command {
	c := &cobra.Command{
		Use:     "catalogue",
		Aliases: []string{"catalog"},
		Short:   "show and check the catalogue of known pools",
		Long: `Catalogue shows the known pools: the shipped ones, and those of your own files (docs/catalog.md has their form), which
replace shipped pools of the same id. List, show and export tell what a running service has, if one has the history of the
state directory open, or --api or $MINECANARY_API names one; nobody else is asked.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newCatalogueList(e), newCatalogueShow(e), newCatalogueLint(e), newCatalogueExport(e), newCatalogueImport(e), newCatalogueSweep(e))
	return c
}

// filesFlag lets a command take catalogue files of the user's, and a state directory.
func filesFlag(c *cobra.Command, files *[]string, state *string) {
	c.Flags().StringVar(state, "state", config.Default().State.Dir, "state directory of the service, with what was changed there")
	c.Flags().StringSliceVarP(files, "file", "f", nil, "catalogue files or folders of your own, added to the shipped catalogue")
}

// shown is where the catalogue comes from that a command shows.
type shown struct {
	ask   askOptions
	files []string
	state string
}

// shownFlags lets a command show the catalogue of files or of a service.
func shownFlags(c *cobra.Command, o *shown) {
	askFlags(c, &o.ask)
	filesFlag(c, &o.files, &o.state)
}

// read gives the catalogue of the service that is named, else that of the service that has the history of the state
// directory open, else that of the files. The error is errPartial, with the rest, if rows of the files are wrong.
func (o *shown) read(c *cobra.Command, e env) (*catalog.Catalog, error) {
	ctx, stateSet := c.Context(), c.Flags().Changed("state")
	files := len(o.files) > 0 || stateSet || o.ask.config != ""
	if o.ask.api != "" && files {
		return nil, usagef("--api asks a service; --file, --state and --config are for files of this machine")
	}
	if !files {
		if r, err := o.ask.named(e); err != nil {
			return nil, err
		} else if r != nil {
			return r.catalogue(ctx)
		}
	}
	cfg, err := o.ask.load()
	if err != nil {
		return nil, err
	}
	if stateSet || o.ask.config == "" {
		cfg.State.Dir = o.state
	}
	if len(o.files) == 0 {
		if used, err := history.InUse(cfg.HistoryFile()); used || errors.Is(err, fs.ErrPermission) {
			var known *catalog.Catalog
			r, err := o.ask.inUse(ctx, e, cfg)
			if err == nil {
				known, err = r.catalogue(ctx)
			}
			if err == nil || ctx.Err() != nil {
				return known, err
			}
			say(e.stderr, "%v; this is what the files say", err)
		}
	}
	return readCatalogue(e.stderr, slices.Concat(cfg.Catalogue.Files, o.files), cfg.State.Dir)
}

// readCatalogue reads the shipped catalogue, files, and what was changed through the service of a state directory; wrong
// rows are told and make the error errPartial, with the rest.
func readCatalogue(stderr io.Writer, files []string, state string) (*catalog.Catalog, error) {
	shipped, problems := catalog.Shipped()
	own, bad, err := catalog.Load(files...)
	if err != nil {
		return nil, err
	}
	edits := catalog.NewEdits(filepath.Join(state, editsFile))
	if err := edits.Open(); err != nil {
		return nil, err
	}
	for _, p := range append(problems, bad...) {
		say(stderr, "%s", p.Error())
		err = errPartial
	}
	return catalog.New(shipped, own, edits.Layer()), err
}

func newCatalogueList(e env) *cobra.Command {
	var asJSON bool
	var o shown
	c := &cobra.Command{
		Use:     "list [flags]",
		Short:   "list the pools",
		Example: "  minecanary catalogue list\n  minecanary catalogue list --json --file my-pools.yaml",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			known, partial := o.read(c, e)
			if known == nil {
				return partial
			}
			if asJSON {
				enc := json.NewEncoder(e.stdout)
				for _, p := range known.Pools() {
					if err := enc.Encode(p); err != nil {
						return fmt.Errorf("write: %w", err)
					}
				}
				return partial
			}
			w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tNAME\tKIND\tSERVERS\tENDPOINTS\tCOINS") // errors show when it is flushed
			for _, p := range known.Pools() {
				endpoints, coins := 0, map[string]bool{}
				for _, s := range p.Servers {
					endpoints += len(s.Endpoints)
					for _, ep := range s.Endpoints {
						coins[ep.Coin] = true
					}
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\n", p.ID, p.Name, p.Kind, len(p.Servers), endpoints, some(coins))
			}
			if err := w.Flush(); err != nil {
				return fmt.Errorf("write: %w", err)
			}
			say(e.stderr, "%s, %s, %s, %s", counted(len(known.Pools()), "pool"), counted(len(known.Hosts()), "server"),
				counted(known.Len(), "endpoint"), counted(len(known.Coins()), "coin"))
			return partial
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per pool")
	shownFlags(c, &o)
	return c
}

// shownCoins is how many coins a line names.
const shownCoins = 6

// some names the first of a set, in order.
func some(set map[string]bool) string {
	names := make([]string, 0, len(set))
	for name := range set {
		names = append(names, name)
	}
	slices.Sort(names)
	if more := len(names) - shownCoins; more > 0 {
		return strings.Join(names[:shownCoins], " ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(names, " ")
}

func newCatalogueShow(e env) *cobra.Command {
	var o shown
	c := &cobra.Command{
		Use:     "show [flags] POOL…",
		Short:   "show pools by their id, as a catalogue file",
		Example: "  minecanary catalogue show supportxmr > my-supportxmr.yaml",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			known, partial := o.read(c, e)
			if known == nil {
				return partial
			}
			for _, id := range args {
				if known.Pool(id) == nil {
					return hintError{fmt.Errorf("the catalogue has no pool %q", id), "minecanary catalogue list shows the ids"}
				}
			}
			return errors.Join(catalog.Write(e.stdout, known.Layer(args...)), partial)
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			layer, _ := catalog.Shipped()
			var ids []string
			for _, p := range layer.Pools {
				ids = append(ids, p.ID)
			}
			return ids, cobra.ShellCompDirectiveNoFileComp
		},
	}
	shownFlags(c, &o)
	return c
}

func newCatalogueLint(e env) *cobra.Command {
	return &cobra.Command{
		Use:   "lint [FILE…]",
		Short: "check catalogue files",
		Long: `Lint reads files or folders beside the shipped catalogue and tells what is wrong with them by file and line: fields and
words that are none, bad ports, reserved names and addresses, servers that stand in another pool already, exchanges
posing as pools, rows that do not say where they were read. Exit code 3 means that something was found.`,
		Example: "  minecanary catalogue lint my-pools.yaml\n  minecanary catalogue lint pools.d",
		RunE: func(_ *cobra.Command, args []string) error {
			shipped, wrong := catalog.Shipped()
			own, problems, err := catalog.Load(args...)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				problems = wrong
			}
			all := catalog.New(shipped, own)
			mine := map[string]bool{}
			for _, p := range own.Pools {
				mine[p.Layer] = true
			}
			for _, p := range all.Lint() {
				// What the shipped catalogue is like is no fault of the user's.
				if len(args) == 0 || mine[p.File] {
					problems = append(problems, p)
				}
			}
			for _, p := range problems {
				if _, err := fmt.Fprintln(e.stdout, p.Error()); err != nil {
					return fmt.Errorf("write: %w", err)
				}
			}
			say(e.stderr, "%s in %s", counted(len(problems), "problem"), counted(all.Len(), "endpoint"))
			if len(problems) > 0 {
				return errPartial
			}
			return nil
		},
	}
}

func newCatalogueExport(e env) *cobra.Command {
	var o shown
	c := &cobra.Command{
		Use:   "export [flags]",
		Short: "print the whole catalogue as one file",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			known, partial := o.read(c, e)
			if known == nil {
				return partial
			}
			return errors.Join(catalog.Write(e.stdout, known.Layer()), partial)
		},
	}
	shownFlags(c, &o)
	return c
}
