package app

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/cmd/minecanary/config"
	"github.com/minecanary/minecanary/intel/tor"
	"github.com/minecanary/minecanary/intel/wallets"
)

// remarks is what else files of the operator's say of a hit.
type remarks struct {
	relays *tor.Relays
	labels []*wallets.Labels
}

// newRemarks reads the files; all that is wrong with any is told at once. It is nil if none is named.
func newRemarks(cfg config.Lists) (*remarks, error) {
	if len(cfg.Tor)+len(cfg.Wallets) == 0 {
		return nil, nil //nolint:nilnil // no files are no error
	}
	r := &remarks{}
	relays, bad := tor.ReadFiles(cfg.Tor)
	r.relays = relays
	for _, path := range cfg.Wallets {
		labels, more := wallets.ReadLabelFile(path)
		r.labels, bad = append(r.labels, labels), append(bad, more...)
	}
	return r, errors.Join(bad...)
}

// remark implements enrich.Deps.Remark.
func (r *remarks) remark(h *minecanary.Hit) (out []minecanary.Evidence) {
	at := time.UnixMicro(h.LastSeen).UTC()
	for _, who := range [...]struct {
		name string
		addr netip.Addr
	}{{"client", h.Client}, {"server", h.Server.Addr}} {
		relay, ok := r.relays.At(who.addr, at)
		if !ok {
			continue
		}
		summary := "the " + who.name + " was a relay of Tor then"
		if len(relay.Flags) > 0 {
			summary += " (" + strings.Join(relay.Flags, ", ") + ")"
		}
		if relay.Fingerprint != "" {
			summary += ", " + relay.Fingerprint
		}
		out = append(out, minecanary.Evidence{Kind: "tor", Strength: minecanary.Weak, At: at, Summary: summary})
	}
	login, ok := wallets.Parse(h.Login)
	if !ok {
		return out
	}
	const most = 4 // labels of one wallet that are told
	told := 0
	for _, t := range r.labels {
		for _, l := range t.Find(login.Wallet) {
			if told++; told > most {
				return out
			}
			summary := fmt.Sprintf("wallet %s: label %q, cluster %q, source %q", login.Wallet, l.Label, l.Cluster, l.Source)
			out = append(out, minecanary.Evidence{Kind: "label", Strength: minecanary.Weak, At: at, Summary: summary[:min(len(summary), 512)]})
		}
	}
	return out
}
