package app

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/minecanary/minecanary/cmd/minecanary/config"
)

func newConfig(e env) *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "check and show the configuration",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	var checked, shown string
	check := &cobra.Command{
		Use:   "check -c minecanary.yaml",
		Short: "tell everything that is wrong with a configuration",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := loadConfig(checked)
			if err != nil {
				return err
			}
			for _, f := range unread(cfg) {
				say(e.stderr, "warning: %s", f)
			}
			_, err = fmt.Fprintln(e.stdout, "ok")
			return err
		},
	}
	check.Flags().StringVarP(&checked, "config", "c", "", "configuration file; without it the environment alone")
	show := &cobra.Command{
		Use:   "show [-c minecanary.yaml]",
		Short: "print the effective configuration: defaults, file, environment",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := loadConfig(shown)
			if err != nil {
				return err
			}
			return cfg.Show(e.stdout)
		},
	}
	show.Flags().StringVarP(&shown, "config", "c", "", "configuration file")
	schema := &cobra.Command{
		Use:   "schema",
		Short: "print the JSON Schema of the configuration file",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b, err := config.Schema()
			if err != nil {
				return err
			}
			_, err = e.stdout.Write(b)
			return err
		},
	}
	c.AddCommand(check, show, schema)
	return c
}

// unread tells which of the files that serve reads at its start cannot be read here. The configuration may be meant for
// another machine, so that is no error yet.
func unread(cfg *config.Config) (out []string) {
	for _, f := range []struct {
		key   string
		files []string
	}{
		{"lists.allow", cfg.Lists.Allow},
		{"lists.block", cfg.Lists.Block},
		{"lists.tor", cfg.Lists.Tor},
		{"lists.wallets", cfg.Lists.Wallets},
		{"prober.deny", cfg.Prober.Deny},
		{"prober.hold", cfg.Prober.Hold},
		{"prober.as_database", []string{cfg.Prober.ASDatabase}},
		{"catalogue.files", cfg.Catalogue.Files},
		{"catalogue.marks", cfg.Catalogue.Marks},
		{"watch.list", []string{cfg.Watch.List}},
	} {
		for _, name := range f.files {
			if name == "" {
				continue
			}
			file, err := os.Open(name)
			if err == nil {
				err = file.Close()
			}
			if err != nil {
				out = append(out, fmt.Sprintf("%s: %v", f.key, err))
			}
		}
	}
	return out
}
