package app

import (
	"net/netip"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/enrich"
	"github.com/minecanary/minecanary/intel/lookup"
	"github.com/minecanary/minecanary/intel/resolver"
)

// maxFeedNames is how many rows of the catalogue are looked at for the name of one endpoint; an address of a CDN may have
// more, and then no name is certain.
const maxFeedNames = 100

// feedMark gives Gate.Mark: what an address is besides a pool's, by the marks, or because a name of the catalogue led to it
// over a CDN's name. The index may be nil.
func feedMark(marks *resolver.Marks, index *lookup.Index) func(netip.Addr) (kind, owner string) {
	return func(addr netip.Addr) (string, string) {
		if m := marks.Of(addr, nil); m.Kind != resolver.Ordinary {
			return string(m.Kind), m.Owner
		}
		if index == nil {
			return "", ""
		}
		for _, m := range atAddress(index, addr, 0).Matches {
			if m.Mark != "" {
				return m.Mark, "over the name " + m.Server
			}
		}
		return "", ""
	}
}

// feedName gives Gate.Name: the one name in the catalogue that leads to the endpoint now. Where several do nobody knows
// which of them answered, and none is given; nor one that the marks know, as a list of names that many need has it, nor one
// on the allow list.
func feedName(index *lookup.Index, marks *resolver.Marks, l enrich.Lists) func(minecanary.Endpoint) string {
	listed := listedNames(l)
	return func(ep minecanary.Endpoint) string {
		found := atAddress(index, ep.Addr, ep.Port)
		name := ""
		for _, m := range found.Matches {
			switch {
			case m.Server == "" || m.Pool == "":
			case name != "" && m.Server != name:
				return ""
			default:
				name = m.Server
			}
		}
		if found.More || marks.OfName(name).Kind != resolver.Ordinary {
			return ""
		}
		if name != "" && listed != nil {
			if allowed, _ := listed(name, time.Now()); allowed {
				return ""
			}
		}
		return name
	}
}

// atAddress asks what is known of an address, and a port of it if one is given, now.
func atAddress(index *lookup.Index, addr netip.Addr, port uint16) lookup.Result {
	return index.Find(lookup.Query{
		Kind: lookup.ByAddress, Prefix: netip.PrefixFrom(addr, addr.BitLen()), Port: port, At: time.Now(),
	}, maxFeedNames)
}
