package minecanary

import (
	"net/netip"
	"time"
)

// What may refuse a probe or a connection (ProbeGrant.Refused).
const (
	RefusedBackoff   = "back-off"  // the endpoint's, after inconclusive probes
	RefusedClient    = "client"    // the client's probes an hour
	RefusedNetwork   = "network"   // the network's probes an hour
	RefusedAS        = "as"        // the autonomous system's probes an hour
	RefusedEndpoint  = "endpoint"  // the endpoint's connections an hour
	RefusedGlobal    = "global"    // the rate of all probes because of clients
	RefusedCatalogue = "catalogue" // the rate of all probes of the catalogue
)

// ProbeCost is what a probe is charged to, and the limits that hold. Those who keep budgets and those who spend them share
// it without knowing each other.
type ProbeCost struct {
	// ByHand tells that a person asked: only the endpoint's connections count.
	ByHand bool
	// Catalogue tells that the catalogue's schedule asked, not a client. Client and PerClient mean nothing then; the
	// probe is charged to a rate, networks and autonomous systems of the catalogue's own, so that neither takes from the
	// other. The endpoint's connections and its back-off are shared: they protect the server.
	Catalogue bool
	// Client is on whose behalf the probe is made, Network is the endpoint's.
	Client  netip.Addr
	Network netip.Prefix
	// AS is the number of the autonomous system that the endpoint is in; 0, which is none (RFC 7607), if it is unknown.
	// Then no such budget holds.
	AS       uint32
	Endpoint Endpoint
	// PerClient, PerNetwork and PerAS are probes, PerEndpoint is connections in any hour, above 0.
	PerClient, PerNetwork, PerAS, PerEndpoint int
	// Rate (probes a second, above 0) and Burst (above 0) are a token bucket for all probes together: all of clients, or
	// all of the catalogue.
	Rate  float64
	Burst int
	// BackoffFirst and BackoffMax are the times of the back-off: the first, doubled each time up to the maximum.
	BackoffFirst, BackoffMax time.Duration
}

// ProbeGrant is the answer of those who keep budgets.
type ProbeGrant struct {
	// Refused names what refused (RefusedBackoff and so on); "" is a yes. Full tells that it did so because it holds as
	// many as it can, and this one is new.
	Refused string
	Full    bool
	// Wait is when it is worth to try again, counted from now; above 0 if refused.
	Wait time.Duration
	// Tried is how many probes of the endpoint have been inconclusive in a row.
	Tried int
}
