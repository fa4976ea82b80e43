package app

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/cmd/minecanary/config"
	"github.com/minecanary/minecanary/prober"
)

// probeParallel is how many endpoints are asked at the same time by hand.
const probeParallel = 64

type probeOptions struct {
	json       bool
	allow      []string
	timeout    time.Duration
	audit      string
	transcript bool
}

func newProbe(e env) *cobra.Command {
	var o probeOptions
	c := &cobra.Command{
		Use:   "probe [flags] HOST:PORT…",
		Short: "ask servers whether they are mining pools",
		Long: `Probe asks each server in mining protocols (Stratum v1, CryptoNote, ethproxy, Zcash; plain and over TLS) and prints a
verdict: confirmed, not-pool, inconclusive, or blocked when our own rules refuse. "-" reads endpoints from standard
input, one a line. A host name is resolved and its first public address asked, with the name for TLS.

The server sees this machine's address, the agent name of a common miner, and a wallet that is none (see --transcript).

Only public unicast addresses are asked unless --allow-probe lifts that rule for a network; the list of ports that are
never asked always holds, and no endpoint sees more than 12 connections of one run in an hour. Nothing is ever mined or
submitted.

Exit code 0 means that every endpoint got a verdict, inconclusive and blocked included.`,
		Example: `  minecanary probe 198.51.100.10:3333
  minecanary probe --json --allow-probe 127.0.0.0/8 127.0.0.1:3333 [::1]:3333`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return runProbe(c.Context(), e, o, args) },
	}
	f := c.Flags()
	f.BoolVar(&o.json, "json", false, "print one JSON object per argument")
	f.StringSliceVar(&o.allow, "allow-probe", nil, "networks (CIDR) that may be probed although they are not public")
	f.DurationVar(&o.timeout, "timeout", 12*time.Second, "wait for an answer, 100ms to 30s")
	f.StringVar(&o.audit, "audit", defaultAudit(e), "append a record of every connection to this file")
	f.BoolVar(&o.transcript, "transcript", false, "show what was said")
	return c
}

func runProbe(ctx context.Context, e env, o probeOptions, args []string) (err error) {
	if o.timeout < 100*time.Millisecond || o.timeout > prober.MaxConnectionTime {
		return usagef("--timeout: %s is not within 100ms and %s", o.timeout, prober.MaxConnectionTime)
	}
	cfg := config.Default()
	if cfg.Prober.Allow, err = prefixes("--allow-probe", o.allow); err != nil {
		return err
	}
	var all []target
	err = interruptible(ctx, func() (err error) {
		all, err = targets(e.stdin, args)
		return err
	})
	if err != nil {
		return err
	}
	warnAllowed(e.stderr, cfg)
	trail, err := openAudit(o.audit)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, trail.Close()) }()
	p, err := newProber(cfg, trail, nil)
	if err != nil {
		return err
	}

	results := make([]chan prober.Result, len(all))
	for i := range results {
		results[i] = make(chan prober.Result, 1)
	}
	var done sync.WaitGroup
	slots := make(chan struct{}, probeParallel)
	var finished atomic.Int64
	done.Go(func() {
		for i, t := range all {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				close(results[i])
				continue
			}
			done.Go(func() {
				defer func() { <-slots }()
				results[i] <- ask(ctx, p, t, o.timeout)
			})
		}
	})
	stop := func() {}
	if !terminal(e.stdout) {
		stop = progress(e.stderr, func() (string, float64) {
			return fmt.Sprintf("%d of %d", finished.Load(), len(all)), float64(finished.Load()) / float64(len(all))
		})
	}
	err = func() error {
		for i := range results {
			r, ok := <-results[i]
			if !ok || ctx.Err() != nil {
				return context.Canceled
			}
			finished.Add(1)
			if err := printResult(e, o, all[i], r); err != nil {
				return fmt.Errorf("write: %w", err)
			}
		}
		return nil
	}()
	stop()
	done.Wait()
	return err
}

// target is one argument of probe.
type target struct {
	arg  string
	host string
	port uint16
}

// targets reads the arguments; a "-" among them stands for the lines of standard input.
func targets(stdin io.Reader, args []string) ([]target, error) {
	var out []target
	var bad []error
	add := func(arg string) {
		t, err := parseTarget(arg)
		if err != nil {
			bad = append(bad, err)
			return
		}
		out = append(out, t)
	}
	for _, arg := range args {
		if arg != "-" {
			add(arg)
			continue
		}
		lines := bufio.NewScanner(stdin)
		for lines.Scan() {
			if line := strings.TrimSpace(lines.Text()); line != "" && !strings.HasPrefix(line, "#") {
				add(line)
			}
		}
		if err := lines.Err(); err != nil {
			return nil, fmt.Errorf("read standard input: %w", err)
		}
	}
	if len(bad) > 0 {
		return nil, usageError{errors.Join(bad...)}
	}
	return out, nil
}

func parseTarget(arg string) (target, error) {
	host, port, err := net.SplitHostPort(arg)
	if err != nil || host == "" {
		return target{}, fmt.Errorf("%q is not HOST:PORT", arg)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return target{}, fmt.Errorf("%q: %q is no port", arg, port)
	}
	return target{arg, host, uint16(n)}, nil
}

// ask probes one target, after resolving its name.
func ask(ctx context.Context, p *prober.Prober, t target, timeout time.Duration) prober.Result {
	opts := prober.ProbeOptions{Why: "by hand", Timeout: timeout}
	addr, err := netip.ParseAddr(t.host)
	if err != nil {
		opts.Name = t.host
		addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", t.host)
		if err != nil || len(addrs) == 0 {
			return prober.Result{
				Status: minecanary.Inconclusive, Reason: fmt.Sprintf("%q can't be resolved", t.host), Evidence: []minecanary.Evidence{},
			}
		}
		addr = addrs[0]
		for _, a := range addrs {
			if minecanary.Reserved(minecanary.CanonicalAddr(a)) == "" {
				addr = a
				break
			}
		}
	}
	return p.Probe(ctx, minecanary.NewEndpoint(addr, t.port, minecanary.TCP), opts)
}

func printResult(e env, o probeOptions, t target, r prober.Result) error {
	if o.json {
		if r.Endpoint.Addr.IsValid() {
			return json.NewEncoder(e.stdout).Encode(r)
		}
		return unresolved(e.stdout, t, r)
	}
	name := t.arg
	if r.Endpoint.Addr.IsValid() && r.Endpoint.String() != t.arg {
		name = fmt.Sprintf("%s (%s)", t.arg, r.Endpoint)
	}
	what := strings.TrimSpace(r.Dialect + " " + r.Coin)
	if r.TLS {
		what = strings.TrimSpace(what + " tls")
	}
	if what != "" {
		what = "  " + what
	}
	if _, err := fmt.Fprintf(e.stdout, "%-12s  %s%s  %s\n", r.Status, name, what, r.Reason); err != nil {
		return err
	}
	if !o.transcript {
		return nil
	}
	for _, ev := range r.Evidence {
		for _, line := range ev.Transcript {
			if _, err := fmt.Fprintf(e.stdout, "              %s\n", line); err != nil {
				return err
			}
		}
	}
	return nil
}

// unresolved prints the result for a name without an address: the argument stands for the endpoint.
func unresolved(w io.Writer, t target, r prober.Result) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	var fields map[string]any
	if err := json.Unmarshal(b, &fields); err != nil {
		return err
	}
	fields["endpoint"] = t.arg
	return json.NewEncoder(w).Encode(fields)
}
