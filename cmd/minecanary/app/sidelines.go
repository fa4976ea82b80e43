package app

import (
	"context"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/enrich"
	out "github.com/minecanary/minecanary/enrich/kafka"
	"github.com/minecanary/minecanary/intel/watch"
)

// factsFile is the name of the file with what sensors saw beside traffic, in state.dir.
const factsFile = "sightings.ndjson"

// openSidelines gives the engine what is known beside traffic: names of pools, relays of Tor, labels of wallets; and the
// service its watch list.
func (s *service) openSidelines(deps *enrich.Deps) error {
	names := poolNames{catalogue: s.directory.index.Catalog, listed: listedNames(deps.Lists)}
	deps.PoolName, deps.Resolver = names.known, within(s.cfg.Network.Resolvers)
	remarks, err := newRemarks(s.cfg.Lists)
	if err != nil {
		return err
	}
	if remarks != nil {
		deps.Remark = remarks.remark
	}
	var to watch.Producer
	if s.produce != nil {
		to = topicWriter{s.produce, s.cfg.Watch.Topic}
	}
	s.watch, err = newWalletWatch(s.cfg.Watch, s.log, to)
	return err
}

// topicWriter writes the events of the watch list.
type topicWriter struct {
	to    out.Producer
	topic string
}

// Produce implements watch.Producer.
func (w topicWriter) Produce(ctx context.Context, key, value []byte) error {
	return w.to.Produce(ctx, []out.Message{{Topic: w.topic, Key: key, Value: value}})
}

// saw is what is shown what sensors saw; nil if nobody looks.
func (s *service) saw() func([]minecanary.Sighting) {
	if s.watch == nil {
		return nil
	}
	return s.watch.see
}
