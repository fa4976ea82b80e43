package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/minecanary/minecanary/cmd/minecanary/config"
	"github.com/minecanary/minecanary/enrich/memory"
	"github.com/minecanary/minecanary/intel/feed"
)

// stateFile is the snapshot's name in state.dir.
const stateFile = "suspects.state"

func newFeed(e env) *cobra.Command {
	var dir, format string
	var allow []string
	maxAge := config.Default().Feed.MaxAge
	c := &cobra.Command{
		Use:   "feed --state DIR --format zeek-intel|zeek-pools",
		Short: "print the feed of confirmed pools from a state directory",
		Long: `Feed prints what a service with this state directory may publish now: confirmed endpoints whose proof is fresh, on
public addresses. What is refused is told on standard error.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			known := false
			for _, f := range feed.Formats() {
				known = known || string(f) == format
			}
			if !known {
				return usagef("--format: %q is none of %v", format, feed.Formats())
			}
			lifted, err := prefixes("--allow-feed", allow)
			if err != nil {
				return err
			}
			file := filepath.Join(dir, stateFile)
			if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
				return hintError{
					fmt.Errorf("%s holds no state (%s is missing)", dir, stateFile),
					"--state takes the folder that state.dir names in the configuration of serve",
				}
			}
			defaults := config.Default()
			store := memory.New(memory.Config{Report: defaults.Report.Window, Inactive: defaults.Suspect.Inactive, File: file})
			if err := store.Peek(); err != nil {
				return err
			}
			verdicts, err := store.Verdicts(c.Context())
			if err != nil {
				return err
			}
			entries, refused := feed.Gate{MaxAge: maxAge, Allow: lifted}.Select(verdicts, time.Now())
			for _, r := range refused {
				say(e.stderr, "%s is left out: %s", r.Endpoint, strings.TrimSpace(fmt.Sprint(r.Reason, " ", r.Detail)))
			}
			return feed.Write(e.stdout, feed.Format(format), entries)
		},
	}
	f := c.Flags()
	f.StringVar(&dir, "state", config.Default().State.Dir, "state directory of the service")
	f.StringVar(&format, "format", string(feed.ZeekIntel), "zeek-intel or zeek-pools")
	f.DurationVar(&maxAge, "max-age", maxAge, "greatest age of a proof")
	f.StringSliceVar(&allow, "allow-feed", nil, "networks (CIDR) that may be printed although they are not public")
	return c
}
