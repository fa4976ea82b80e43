package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/cmd/minecanary/config"
	"github.com/minecanary/minecanary/enrich"
	"github.com/minecanary/minecanary/intel/feed"
	"github.com/minecanary/minecanary/intel/lists"
	"github.com/minecanary/minecanary/prober"
	"github.com/minecanary/minecanary/prober/asn"
	"github.com/minecanary/minecanary/prober/audit"
)

// engineConfig gives the engine's part of the configuration.
func engineConfig(cfg *config.Config, finite bool) enrich.Config {
	out := enrich.Config{
		Report: cfg.Report.Window, Lateness: cfg.Report.Lateness, Suspected: cfg.Report.Suspected,
		Inactive: cfg.Suspect.Inactive, Active: cfg.Suspect.Active, Keep: cfg.Suspect.Keep,
		Finite: finite,
	}
	if !finite {
		out.SaveEvery = cfg.State.SnapshotEvery
	}
	return out
}

// proberConfig gives the prober's part of the configuration.
func proberConfig(cfg *config.Config) prober.Config {
	p := prober.DefaultConfig()
	c := cfg.Prober
	p.Allow, p.Own = c.Allow, slices.Clone(cfg.Network.Local)
	// The configuration was checked: what is no address is empty.
	for _, source := range c.Source {
		if a, err := netip.ParseAddr(source); err == nil {
			p.Source = append(p.Source, a)
		}
	}
	if c.SOCKS5 != "" {
		ap, _ := netip.ParseAddrPort(c.SOCKS5)
		p.Proxy = prober.SOCKS5{Addr: ap, User: c.SOCKS5User, Password: c.SOCKS5Password}
	}
	p.DenyPorts = append(p.DenyPorts, c.DenyPorts...)
	p.Agent, p.JARM = agent(c.Agent, c.Contact), c.JARM
	p.Expiry = c.Expiry
	p.ClientPerHour, p.NetworkPerHour = c.PerClientHour, c.PerNetworkHour
	p.ASPerHour = c.PerASHour
	p.GlobalRate, p.GlobalBurst = c.PerSecond, c.Burst
	p.CatalogueRate, p.CatalogueBurst = c.CataloguePerSec, c.CatalogueBurst
	p.Connect, p.Timeout, p.EndpointTime = c.ConnectTimeout, c.AnswerTimeout, c.EndpointTimeout
	return p
}

// agent is the name that pools see: the configured one and the contact, so that whoever is asked can find the asker.
func agent(name, contact string) string {
	switch {
	case contact == "":
		return name
	case name == "":
		return "minecanary (" + contact + ")"
	}
	return name + " (" + contact + ")"
}

// newProber gives the prober; purse is nil for budgets of this process alone. warn hears of files, of refusals and of
// autonomous systems, that have become bad.
func newProber(cfg *config.Config, trail prober.Auditor, purse prober.Purse, warn func(error)) (*prober.Prober, error) {
	p := proberConfig(cfg)
	p.Purse = purse
	own, err := ownAddresses()
	if err != nil {
		return nil, err
	}
	p.Own = append(p.Own, own...)
	refusals, err := newRefusals(cfg.Prober.Deny, cfg.Prober.Hold, time.Now, warn)
	if err != nil {
		return nil, err
	}
	if refusals != nil {
		p.Refuse = refusals.refuse
	}
	if cfg.Prober.ASDatabase != "" {
		systems, err := asn.Open(cfg.Prober.ASDatabase, nil, warn)
		if err != nil {
			return nil, err
		}
		p.AS = systems.Number
	}
	return prober.New(p, trail, nil)
}

// ownAddresses gives the addresses of this machine: what listens there is not for strangers, and the prober is none.
func ownAddresses() ([]netip.Prefix, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("addresses of this machine: %w", err)
	}
	var own []netip.Prefix
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			addr := minecanary.CanonicalAddr(p.Addr())
			own = append(own, netip.PrefixFrom(addr, addr.BitLen()))
		}
	}
	return own, nil
}

// defaultAudit is where detect and probe keep the record of every probe: in the person's state folder (XDG Base Directory
// Specification), or the current one where there is no home.
func defaultAudit(e env) string {
	const name = "audit.ndjson"
	if dir := e.getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "minecanary", name)
	}
	if home := e.getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "minecanary", name)
	}
	return "minecanary-" + name
}

// openAudit opens the record of probes, and makes its folder.
func openAudit(name string) (*audit.File, error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		return nil, hintError{fmt.Errorf("audit: %w", err), "no server is asked without a record of it; --audit names another file"}
	}
	return audit.Open(name)
}

// publisher lets the feed take the engine's verdicts; what came of it goes to observe.
type publisher struct {
	*feed.Publisher
	observe func(feed.Report, error)
}

// Publish implements enrich.Publisher.
func (p publisher) Publish(ctx context.Context, verdicts []minecanary.Verdict) error {
	report, err := p.Publisher.Publish(ctx, verdicts)
	if p.observe != nil {
		p.observe(report, err)
	}
	return err
}

// behind publishes beside the engine, which does not wait for disks: the newest verdicts, one publication after the other.
type behind struct {
	publisher
	newest chan []minecanary.Verdict
}

func newBehind(p publisher) *behind {
	return &behind{publisher: p, newest: make(chan []minecanary.Verdict, 1)}
}

// Publish implements enrich.Publisher. It never waits; what waits already is replaced.
func (b *behind) Publish(_ context.Context, verdicts []minecanary.Verdict) error {
	for {
		select {
		case b.newest <- verdicts:
			return nil
		default:
		}
		select {
		case <-b.newest:
		default:
		}
	}
}

// run publishes until the context ends, and then what still waits. failed hears of what did not work; the heartbeat tries
// again.
func (b *behind) run(ctx context.Context, failed func(error)) error {
	publish := func(verdicts []minecanary.Verdict) {
		if err := b.publisher.Publish(context.WithoutCancel(ctx), verdicts); err != nil {
			failed(err)
		}
	}
	for {
		select {
		case verdicts := <-b.newest:
			publish(verdicts)
		case <-ctx.Done():
			select {
			case verdicts := <-b.newest:
				publish(verdicts)
			default:
			}
			return nil
		}
	}
}

// feedHooks are what the gate of the feed asks; each may be nil.
type feedHooks struct {
	// refuse tells why an endpoint must not be published, "" if it may.
	refuse func(minecanary.Endpoint) string
	// mark and name are feed.Gate's, reach is feed.Config's.
	mark  func(netip.Addr) (kind, owner string)
	name  func(minecanary.Endpoint) string
	reach func(netip.Addr) (hosts int, ok bool)
	// observe hears of every publication, failed of every one that did not work.
	observe func(feed.Report, error)
	failed  func(error)
}

// newPublisher gives the publisher of the feed.
func newPublisher(cfg *config.Config, hooks feedHooks) (publisher, error) {
	c := cfg.Feed
	var formats []feed.Format
	for _, name := range c.Formats {
		formats = append(formats, feed.Format(name))
	}
	if len(formats) == 0 {
		formats = slices.DeleteFunc(feed.AllFormats(), func(f feed.Format) bool { return f == feed.ZeekIntelRemoval })
	}
	p, err := feed.New(feed.Config{
		Dir: c.Dir, Formats: formats, RewriteEvery: c.RewriteEvery, SIDBase: uint32(c.SIDBase),
		MaxNew: unlimited(c.MaxNew), MaxChange: unlimited(c.MaxChange), MaxHosts: unlimited(c.MaxHosts), Reach: hooks.reach,
		Gate: feed.Gate{MaxAge: c.MaxAge, Own: cfg.Network.Local, Allow: c.Allow, Refuse: hooks.refuse, Mark: hooks.mark, Name: hooks.name},
		Observe: func(r feed.Report, err error) {
			if err != nil && hooks.failed != nil {
				hooks.failed(err)
			}
			if hooks.observe != nil {
				hooks.observe(r, err)
			}
		},
	})
	if err != nil {
		return publisher{}, usageError{err}
	}
	return publisher{p, hooks.observe}, nil
}

// unlimited turns the configuration's 0, which is no limit, into the feed's.
func unlimited(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

// endpointLists are the allow and the block list as the engine asks them; nil lists say nothing.
type endpointLists struct{ allow, block *lists.List }

// Allowed implements enrich.Lists.
func (l *endpointLists) Allowed(ep minecanary.Endpoint, at time.Time) (string, bool) {
	e, ok := l.allow.Match(ep, at)
	if !ok {
		return "", false
	}
	return "allow list: " + explained(e), true
}

// Blocked implements enrich.Lists.
func (l *endpointLists) Blocked(ep minecanary.Endpoint, at time.Time) (string, bool) {
	e, ok := l.block.Match(ep, at)
	if !ok {
		return "", false
	}
	return "block list: " + explained(e), true
}

// explained is a list's entry with the reason somebody gave.
func explained(e lists.Entry) string {
	if e.Reason == "" {
		return e.String()
	}
	return e.String() + ": " + e.Reason
}

// refuse keeps what the allow list names out of feeds.
func (l *endpointLists) refuse(ep minecanary.Endpoint) string {
	if l == nil {
		return ""
	}
	reason, _ := l.Allowed(ep, time.Now())
	return reason
}

// readLists reads the list files; every bad line of all of them is told at once. It gives nil if no file is named.
func readLists(cfg config.Lists) (*endpointLists, error) {
	if len(cfg.Allow)+len(cfg.Block) == 0 {
		return nil, nil //nolint:nilnil // no lists is no error
	}
	allow, bad := lists.ReadFiles(cfg.Allow)
	block, more := lists.ReadFiles(cfg.Block)
	if bad = append(bad, more...); len(bad) > 0 {
		return nil, errors.Join(bad...)
	}
	return &endpointLists{allow, block}, nil
}

// warnAllowed says loudly which address rules are lifted.
func warnAllowed(w io.Writer, cfg *config.Config) {
	if cfg.Kafka.SASL == "plain" && !cfg.Kafka.TLS {
		say(w, "warning: kafka.sasl plain without kafka.tls sends the password in clear text")
	}
	if cfg.Kafka.InsecureSkipVerify || cfg.Redis.InsecureSkipVerify || cfg.Elasticsearch.InsecureSkipVerify {
		say(w, "warning: insecure_skip_verify: certificates are not checked; whoever is between can read and change everything")
	}
	for _, lifted := range []struct {
		what string
		nets []string
	}{
		{"addresses that are not public may be probed", texts(cfg.Prober.Allow)},
		{"addresses that are not public may enter the feed", texts(cfg.Feed.Allow)},
	} {
		if len(lifted.nets) > 0 {
			say(w, "warning: %s: %s", lifted.what, strings.Join(lifted.nets, ", "))
		}
	}
}

func texts[T fmt.Stringer](values []T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = v.String()
	}
	return out
}
