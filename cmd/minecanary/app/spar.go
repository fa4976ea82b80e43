package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/minecanary/minecanary/prober/spar"
)

type sparOptions struct {
	addr   string
	port   uint16
	only   []string
	others bool
	json   bool
	list   bool
}

func newSpar(e env) *cobra.Command {
	var o sparOptions
	c := &cobra.Command{
		Use:   "spar",
		Short: "run sparring pools of every dialect on this machine, to try things out",
		Long: `Spar starts servers on a loopback address that answer as mining pools of every dialect do, each plain and over TLS, and
prints where they listen. With --others it starts as well what a prober may take for a pool, or be hurt by: mail servers,
chats, echoes, floods, drips. They mine nothing and talk to nobody but who connects. It runs until it is interrupted.`,
		Example: `  minecanary spar
  minecanary spar --only stratum-v1,kaspa --port 13000
  minecanary probe --allow-probe 127.0.0.0/8 127.0.0.1:13000`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runSpar(c.Context(), e, o) },
	}
	f := c.Flags()
	f.StringVar(&o.addr, "listen", "127.0.0.1", "loopback address to listen on")
	f.Uint16Var(&o.port, "port", 0, "first port, the others follow; 0 for any free ones")
	f.StringSliceVar(&o.only, "only", nil, "start these alone, of "+strings.Join(append(spar.Pools(), spar.Others()...), ", "))
	f.BoolVar(&o.others, "others", false, "start what is no pool as well")
	f.BoolVar(&o.json, "json", false, "print one JSON object per server")
	f.BoolVar(&o.list, "list", false, "print the names and start nothing")
	_ = c.RegisterFlagCompletionFunc("only", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return append(spar.Pools(), spar.Others()...), cobra.ShellCompDirectiveNoFileComp
	}) // fails only for a flag that is not there
	return c
}

// sparring is one server as it is told.
type sparring struct {
	Name    string         `json:"name"`
	Address netip.AddrPort `json:"address"`
	TLS     bool           `json:"tls"`
	Pool    bool           `json:"pool"`
}

func runSpar(ctx context.Context, e env, o sparOptions) (err error) {
	addr, err := netip.ParseAddr(o.addr)
	if err != nil || !addr.IsLoopback() {
		return usagef("--listen: %q is no loopback address", o.addr)
	}
	pools := spar.Pools()
	names := slices.Clone(pools)
	if o.others {
		names = append(names, spar.Others()...)
	}
	if len(o.only) > 0 {
		names = o.only
	}
	if o.list {
		_, err := fmt.Fprintln(e.stdout, strings.Join(names, "\n"))
		return err
	}
	port := int(o.port)
	for _, name := range names {
		for _, secured := range []spar.TLS{spar.Plain, spar.Only} {
			if secured == spar.Only && !slices.Contains(pools, name) {
				continue
			}
			if port > 65535 {
				return usagef("--port: there are not enough ports from %d on", o.port)
			}
			server, err := spar.Start(ctx, spar.Options{
				Addr: net.JoinHostPort(addr.String(), strconv.Itoa(port)), Dialect: name, TLS: secured,
			})
			if err != nil {
				return err
			}
			defer server.Close()
			if port > 0 {
				port++
			}
			if err := printSparring(e, o, sparring{name, server.Addr(), secured == spar.Only, slices.Contains(pools, name)}); err != nil {
				return fmt.Errorf("write: %w", err)
			}
		}
	}
	<-ctx.Done()
	if err := ctx.Err(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil // to be interrupted is how it ends
}

func printSparring(e env, o sparOptions, s sparring) error {
	if o.json {
		return json.NewEncoder(e.stdout).Encode(s)
	}
	how := "plain"
	if s.TLS {
		how = "tls"
	}
	_, err := fmt.Fprintf(e.stdout, "%-22s %-5s  %s\n", s.Name, how, s.Address)
	return err
}
