package main

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/history"
	"github.com/minecanary/minecanary/intel/resolver/dnstest"
)

// zone is what the DNS server of the scripts knows.
func zone(name string) dnstest.Answer {
	switch name {
	case "eu.canary-pool.net":
		return dnstest.Answer{Alias: "eu1.canary-pool.net"}
	case "eu1.canary-pool.net":
		return dnstest.Answer{Addrs: []netip.Addr{netip.MustParseAddr("9.9.9.21"), netip.MustParseAddr("2620:fe::1:21")}}
	case "front.canary-pool.net":
		return dnstest.Answer{Addrs: []netip.Addr{netip.MustParseAddr("104.16.0.1")}} // Cloudflare's
	case "inside.canary-pool.net":
		return dnstest.Answer{Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}
	case "broken.canary-pool.net":
		return dnstest.Answer{Code: dnstest.ServFail}
	}
	return dnstest.Answer{Code: dnstest.NXDomain}
}

// past FILE NAME|ADDRESS:PORT ADDRESS|STATUS FROM UNTIL: the history in the file learns that the name had the address, or
// that the endpoint answered so, every day from the one to before the other; and on the last day that it no longer did.
func past(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 5 {
		ts.Fatalf("usage: past FILE NAME|ADDRESS:PORT ADDRESS|STATUS FROM UNTIL")
	}
	from, err := time.Parse(time.DateOnly, args[3])
	ts.Check(err)
	until, err := time.Parse(time.DateOnly, args[4])
	ts.Check(err)
	db, err := history.Open(ts.MkAbs(args[0]), history.Options{})
	ts.Check(err)
	ep, notEndpoint := minecanary.ParseEndpoint(args[1])
	err = db.Update(context.Background(), func(tx *history.Tx) error { // scripts have no context
		for at := from; !at.After(until); at = at.AddDate(0, 0, 1) {
			var err error
			switch last := !at.Before(until); {
			case notEndpoint == nil && last:
				err = tx.Probed(history.Probe{Endpoint: ep, At: at, Status: minecanary.NotPool, Reason: "HTTP"})
			case notEndpoint == nil:
				err = tx.Probed(history.Probe{Endpoint: ep, At: at, Status: minecanary.VerdictStatus(args[2]), Dialect: "cryptonote", Coin: "monero"})
			case last:
				err = tx.Resolved(history.Observation{Name: args[1], At: at, Code: history.NXDomain})
			default:
				err = tx.Resolved(history.Observation{Name: args[1], At: at, Addrs: []netip.Addr{netip.MustParseAddr(args[2])}})
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	ts.Check(errors.Join(err, db.Close()))
}
