package app

import (
	"net/netip"
	"slices"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/cmd/minecanary/config"
	"github.com/minecanary/minecanary/enrich"
)

// ours tells the connections of our own probes from those of miners: a sensor that sees the way out sees somebody of ours
// talk to a pool. Without anything set nothing is ours.
type ours struct {
	// networks are where probers are, as sensors see them.
	networks []netip.Prefix
	// made tells whether this process made a connection, whatever address it had; nil: it made none.
	made func(local, remote netip.AddrPort) bool
}

func newOurs(cfg *config.Config) ours {
	o := ours{networks: slices.Clone(cfg.Network.Probers)}
	for _, source := range cfg.Prober.Source {
		if a, err := netip.ParseAddr(source); err == nil { // checked before
			o.networks = append(o.networks, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return o
}

// leaveOut takes our own connections out of a batch.
func (o ours) leaveOut(b *enrich.Batch) {
	if len(o.networks) == 0 && o.made == nil {
		return
	}
	b.Keep(func(s *minecanary.Slices) bool { return !o.has(s) })
	b.Sightings = slices.DeleteFunc(b.Sightings, func(s minecanary.Sighting) bool {
		return s.Kind != minecanary.SightedDNS && o.has(&minecanary.Slices{Pair: minecanary.Pair{Client: s.Client, Server: s.Server}, ClientPort: s.ClientPort})
	})
}

// from tells whether an address is a prober's.
func (o ours) from(client netip.Addr) bool {
	return slices.ContainsFunc(o.networks, func(p netip.Prefix) bool { return p.Contains(client) })
}

// has tells whether slices are of a connection of ours.
func (o ours) has(s *minecanary.Slices) bool {
	client := minecanary.CanonicalAddr(s.Client)
	if o.from(client) {
		return true
	}
	return o.made != nil &&
		o.made(netip.AddrPortFrom(client, s.ClientPort), netip.AddrPortFrom(minecanary.CanonicalAddr(s.Server.Addr), s.Server.Port))
}
