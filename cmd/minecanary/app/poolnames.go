package app

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/enrich"
	"github.com/minecanary/minecanary/intel/catalog"
)

// poolNames tells which names are pools', as clients ask for them in DNS and TLS.
type poolNames struct {
	// catalogue gives the catalogue as it is now.
	catalogue func() *catalog.Catalog
	// listed gives what the operator's lists say; nil if there are none.
	listed func(name string, at time.Time) (allowed bool, blocked string)
}

// known implements enrich.Deps.PoolName. A name of the catalogue, or one below it, counts for the ports that its servers
// have there; but not for those that web pages have too: who only looks at a pool's page asks for the same names.
func (p poolNames) known(name string, port uint16, at time.Time) (reason string, ok bool) {
	if p.listed != nil {
		if allowed, blocked := p.listed(name, at); allowed || blocked != "" {
			return blocked, !allowed
		}
	}
	c := p.catalogue()
	for domain := name; strings.Contains(domain, "."); _, domain, _ = strings.Cut(domain, ".") {
		for _, row := range c.Host(domain) {
			e := row.Endpoint
			if e == nil || slices.Contains(webPorts(), e.Port) || port != 0 && port != e.Port {
				continue
			}
			if port == 0 {
				return "", true // whether it counts is seen with the port
			}
			return fmt.Sprintf("catalogue: %s, %s port %d, %s (%s, %s)", row.Pool.Name, domain, e.Port, e.Coin, e.Confidence, e.AsOf), true
		}
	}
	return "", false
}

// shippedNames are the names of the catalogue that the program carries, which is only read if a name is asked for.
func shippedNames(lists *endpointLists) poolNames {
	p := poolNames{catalogue: sync.OnceValue(func() *catalog.Catalog {
		layer, _ := catalog.Shipped() // a test holds it to be without problems
		return catalog.New(layer)
	})}
	if lists != nil {
		p.listed = lists.names
	}
	return p
}

// names tells what the lists say of a name; the allow list wins.
func (l *endpointLists) names(name string, at time.Time) (allowed bool, blocked string) {
	if l == nil {
		return false, ""
	}
	if _, ok := l.allow.MatchName(name, at); ok {
		return true, ""
	}
	if e, ok := l.block.MatchName(name, at); ok {
		return false, "block list: " + explained(e)
	}
	return false, ""
}

// names is that of the lists that all processes share.
func (l *sharedLists) names(name string, at time.Time) (allowed bool, blocked string) {
	return l.current.Load().names(name, at)
}

// within gives whether an address is in any of the networks; nil if there are none.
func within(networks []netip.Prefix) func(netip.Addr) bool {
	if len(networks) == 0 {
		return nil
	}
	return func(a netip.Addr) bool {
		a = minecanary.CanonicalAddr(a)
		return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(a) })
	}
}

// listedNames gives what lists say of names, nil if they say nothing.
func listedNames(l enrich.Lists) func(string, time.Time) (bool, string) {
	if n, ok := l.(interface {
		names(name string, at time.Time) (allowed bool, blocked string)
	}); ok {
		return n.names
	}
	return nil
}
