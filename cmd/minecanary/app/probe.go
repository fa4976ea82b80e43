package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/time/rate"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/cmd/minecanary/config"
	"github.com/minecanary/minecanary/prober"
	"github.com/minecanary/minecanary/prober/dialect"
)

// How many endpoints are asked at the same time by hand: unless told otherwise, and at most. Each takes up to two
// connections and some 20 KB.
const (
	probeParallel    = 64
	maxProbeParallel = 20_000
	// probeStarts is how many are begun a second at most, so that many do not keep each other waiting. A process that waits
	// is woken to the millisecond at best, in which several are due; what a busy machine is late with beyond probeBurst is
	// not made up for: it has enough to do.
	probeStarts = 2000
	probeBurst  = probeStarts / 100
)

type probeOptions struct {
	json       bool
	allow      []string
	timeout    time.Duration
	audit      string
	transcript bool
	files      []string
	dialects   []string
	sni        string
	jarm       bool
	parallel   int
}

func newProbe(e env) *cobra.Command {
	var o probeOptions
	c := &cobra.Command{
		Use:   "probe [flags] SERVER…",
		Short: "ask servers whether they are mining pools",
		Long: `Probe asks each server in the mining protocols (--dialects lists them), plain or over TLS as the server speaks, and
prints a verdict: confirmed, node (a coin's daemon, no pool), not-pool, inconclusive, or blocked when our own rules
refuse.

A server is HOST:PORT or a URL as miners use them: stratum+tcp://, stratum+ssl://, stratum2+tcp://, http://, https://,
ws://, wss://; the scheme is a hint for what to ask first, not an order. "-" reads servers from standard input, --file
from a file, one a line; what follows a # is a comment. A host name is resolved and its first public address asked, with
the name for TLS.

The server sees this machine's address, the agent name of a common miner, and a wallet that is none (see --transcript).

Only public unicast addresses are asked unless --allow-probe lifts that rule for a network; the list of ports that are
never asked always holds, and no endpoint sees more than 12 connections of one run in an hour. Nothing is ever mined or
submitted. Ten of the twelve go into a fingerprint (--jarm); where they are not left it says so.

Exit code 0 means that every endpoint got a verdict, inconclusive and blocked included.`,
		Example: `  minecanary probe 198.51.100.10:3333
  minecanary probe --transcript stratum+ssl://pool.example.net:443
  minecanary probe --json --allow-probe 127.0.0.0/8 127.0.0.1:3333 [::1]:3333
  minecanary probe --file servers.txt`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args)+len(o.files) == 0 {
				return errors.New("name a server to ask, or a file of them")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return runProbe(c.Context(), e, o, args) },
	}
	f := c.Flags()
	f.BoolVar(&o.json, "json", false, "print one JSON object per argument")
	f.StringSliceVar(&o.allow, "allow-probe", nil, "networks (CIDR) that may be probed although they are not public")
	f.DurationVar(&o.timeout, "timeout", 12*time.Second, "wait for an answer, 100ms to 30s")
	f.StringVar(&o.audit, "audit", defaultAudit(e), "append a record of every connection to this file")
	f.BoolVar(&o.transcript, "transcript", false, "show what was said")
	f.StringSliceVarP(&o.files, "file", "f", nil, "read servers from these files, one a line")
	f.StringSliceVar(&o.dialects, "dialects", nil, "ask only in these of "+strings.Join(askedDialects(), ", "))
	f.IntVar(&o.parallel, "parallel", probeParallel, fmt.Sprintf("how many are asked at the same time, 1 to %d", maxProbeParallel))
	f.StringVar(&o.sni, "sni", "", "server name for TLS and HTTP, instead of the host's name")
	f.BoolVar(&o.jarm, "jarm", false, "fingerprint confirmed pools and nodes that speak TLS (JARM), with ten connections more")
	_ = c.RegisterFlagCompletionFunc("dialects", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return askedDialects(), cobra.ShellCompDirectiveNoFileComp
	}) // fails only for a flag that is not there
	return c
}

// askedDialects are the names of the dialects that have a question.
func askedDialects() []string {
	var names []string
	for _, d := range dialect.Asked() {
		names = append(names, d.Name)
	}
	return names
}

func runProbe(ctx context.Context, e env, o probeOptions, args []string) (err error) {
	if o.timeout < 100*time.Millisecond || o.timeout > prober.MaxConnectionTime {
		return usagef("--timeout: %s is not within 100ms and %s", o.timeout, prober.MaxConnectionTime)
	}
	if o.parallel < 1 || o.parallel > maxProbeParallel {
		return usagef("--parallel: %d is not within 1 and %d", o.parallel, maxProbeParallel)
	}
	for _, name := range o.dialects {
		if !slices.Contains(askedDialects(), name) {
			return usagef("--dialects: %q is none of %s", name, strings.Join(askedDialects(), ", "))
		}
	}
	cfg := config.Default()
	if cfg.Prober.Allow, err = prefixes("--allow-probe", o.allow); err != nil {
		return err
	}
	cfg.Prober.JARM = o.jarm
	var all []target
	err = interruptible(ctx, func() (err error) {
		all, err = targets(e.stdin, args, o.files)
		return err
	})
	if err != nil {
		return err
	}
	if e.getenv("GOGC") == "" {
		defer debug.SetGCPercent(debug.SetGCPercent(gcPercent))
	}
	warnAllowed(e.stderr, cfg)
	trail, err := openAudit(o.audit)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, trail.Close()) }()
	p, err := newProber(cfg, trail, nil, func(err error) { say(e.stderr, "%v", err) })
	if err != nil {
		return err
	}

	results := make([]chan *prober.Result, len(all))
	for i := range results {
		results[i] = make(chan *prober.Result, 1)
	}
	var done sync.WaitGroup
	slots := make(chan struct{}, o.parallel)
	var finished atomic.Int64
	done.Go(func() {
		pace := rate.NewLimiter(probeStarts, probeBurst)
		for i, t := range all {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				close(results[i])
				continue
			}
			if len(all) > probeParallel {
				_ = pace.Wait(ctx) // fails only when the context ends, and what is asked then ends with it
			}
			done.Go(func() {
				defer func() { <-slots }()
				r := ask(ctx, p, t, o)
				r.Talks = nil // what is printed of them is in the evidence, and results may wait for others
				results[i] <- &r
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
			if err := printResult(e, o, all[i], *r); err != nil {
				return fmt.Errorf("write: %w", err)
			}
		}
		return nil
	}()
	stop()
	done.Wait()
	return err
}

// target is one server to ask.
type target struct {
	arg  string
	host string
	port uint16
	tls  bool
	// first is the dialect that the scheme of a URL hints at.
	first string
}

// targets reads the arguments, a "-" among them stands for standard input, and the files.
func targets(stdin io.Reader, args, files []string) ([]target, error) {
	var out []target
	var bad []error
	err := eachOf(stdin, args, files, func(where, arg string) error {
		t, err := parseTarget(arg)
		if err != nil {
			bad = append(bad, fmt.Errorf("%s%w", where, err))
			return nil
		}
		out = append(out, t)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(bad) > 0 {
		return nil, usageError{errors.Join(bad...)}
	}
	return out, nil
}

// schemes are those of URLs that miners and lists of pools use, with the port where HTTP has one of its own.
var schemes = map[string]struct {
	tls   bool
	first string
	port  string
}{
	"stratum": {}, "stratum+tcp": {}, "tcp": {},
	"stratum+ssl": {tls: true}, "stratum+tls": {tls: true}, "stratums": {tls: true}, "stratum+tcps": {tls: true}, "ssl": {tls: true}, "tls": {tls: true},
	"stratum1+tcp": {first: dialect.Ethproxy}, "stratum1+ssl": {tls: true, first: dialect.Ethproxy}, // ethminer
	"stratum2+tcp": {first: dialect.StratumV2},
	"http":         {first: dialect.GetBlockTemplate, port: "80"}, "https": {tls: true, first: dialect.GetBlockTemplate, port: "443"},
	"ws": {first: dialect.WebSocket, port: "80"}, "wss": {tls: true, first: dialect.WebSocket, port: "443"},
}

func parseTarget(arg string) (target, error) {
	t := target{arg: arg}
	hostPort := arg
	if name, rest, ok := strings.Cut(arg, "://"); ok {
		s, known := schemes[strings.ToLower(name)]
		if !known {
			return target{}, fmt.Errorf("%q: the scheme %q is none of %s", arg, name, strings.Join(slices.Sorted(maps.Keys(schemes)), ", "))
		}
		t.tls, t.first = s.tls, s.first
		hostPort = rest
		if i := strings.IndexAny(rest, "/?#"); i >= 0 {
			hostPort = rest[:i]
		}
		hostPort = hostPort[strings.LastIndexByte(hostPort, '@')+1:] // a worker's name is nobody's business
		if bare := strings.Trim(hostPort, "[]"); s.port != "" && (!strings.Contains(hostPort, ":") || strings.HasSuffix(hostPort, "]")) {
			hostPort = net.JoinHostPort(bare, s.port)
		}
	}
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil || host == "" {
		return target{}, fmt.Errorf("%q is not HOST:PORT", arg)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return target{}, fmt.Errorf("%q: %q is no port", arg, port)
	}
	t.host, t.port = host, uint16(n)
	return t, nil
}

// ask probes one target, after resolving its name.
func ask(ctx context.Context, p *prober.Prober, t target, o probeOptions) prober.Result {
	opts := prober.ProbeOptions{Why: "by hand", Timeout: o.timeout, Name: o.sni, TLS: t.tls, Dialects: o.dialects, First: t.first}
	addr, err := netip.ParseAddr(t.host)
	if err != nil {
		if o.sni == "" {
			opts.Name = t.host
		}
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
	if r.Proxy {
		what += " proxy"
	}
	if r.TLS {
		what = strings.TrimSpace(what + " tls")
	}
	if what != "" {
		what = "  " + what
	}
	if _, err := fmt.Fprintf(e.stdout, "%-12s  %s%s  %s\n", r.Status, name, what, r.Reason); err != nil {
		return err
	}
	if told := jobLine(r.Job); told != "" {
		if _, err := fmt.Fprintf(e.stdout, "              %s\n", told); err != nil {
			return err
		}
	}
	if r.JARM != "" {
		if _, err := fmt.Fprintf(e.stdout, "              %s\n", r.JARM); err != nil {
			return err
		}
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

// jobLine tells people of a pool's work, "" if nothing is known of it.
func jobLine(j minecanary.Job) string {
	var parts []string
	add := func(name, value string) {
		if value != "" {
			parts = append(parts, name+" "+value)
		}
	}
	add("software", j.Software)
	add("algorithm", j.Algorithm)
	if j.Height > 0 {
		add("height", strconv.FormatUint(j.Height, 10))
	}
	if j.Difficulty > 0 {
		add("difficulty", strconv.FormatFloat(j.Difficulty, 'g', -1, 64))
	}
	if j.Tag != "" {
		add("tag", strconv.QuoteToASCII(j.Tag))
	}
	add("previous hash", j.PreviousHash)
	add("template", j.Template)
	return strings.Join(parts, ", ")
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
