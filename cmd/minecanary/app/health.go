package app

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// healthTimeout bounds the question.
const healthTimeout = 3 * time.Second

func newHealth(e env) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "health [-c minecanary.yaml]",
		Short: "ask the serve of this machine whether it is ready",
		Long: `Health asks /readyz at http.listen: exit code 0 and "ready", or 1 and the reason. It is made for the health checks of
containers and service managers.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := loadConfig(file)
			if err != nil {
				return err
			}
			if cfg.HTTP.Listen == "" {
				return usagef("http.listen is empty: serve tells nobody how it is")
			}
			return askHealth(c.Context(), e.stdout, cfg.HTTP.Listen)
		},
	}
	c.Flags().StringVarP(&file, "config", "c", "", "configuration file; without it the environment alone")
	return c
}

func askHealth(ctx context.Context, stdout io.Writer, listen string) error {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return err
	}
	if host == "" || host == "0.0.0.0" || host == "::" {
		host = "localhost"
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("not running: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	said, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if err != nil {
		return fmt.Errorf("not running: %w", err)
	}
	text := strings.TrimSpace(string(said))
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", text)
	}
	_, err = fmt.Fprintln(stdout, text)
	return err
}
