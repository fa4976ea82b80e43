package app

import (
	"fmt"

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
			if _, err := loadConfig(checked); err != nil {
				return err
			}
			_, err := fmt.Fprintln(e.stdout, "ok")
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
