package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/cmd/minecanary/config"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/decode"
	"github.com/minecanary/minecanary/consumer/envelope"
	"github.com/minecanary/minecanary/consumer/kafka"
	"github.com/minecanary/minecanary/enrich"
	"github.com/minecanary/minecanary/enrich/ecs"
	"github.com/minecanary/minecanary/enrich/elasticsearch"
	out "github.com/minecanary/minecanary/enrich/kafka"
	"github.com/minecanary/minecanary/enrich/redis"
	"github.com/minecanary/minecanary/enrich/score"
)

const (
	// settleEvery is how often what was decided is stored and acknowledged where the state is shared. Sinks have it at
	// once.
	settleEvery = 500 * time.Millisecond
	// redisTimeout bounds one answer of Redis: a batch of scripts takes some 100 ms.
	redisTimeout = 10 * time.Second
	// topicsWithin is how long topics are waited for that are not there.
	topicsWithin = time.Minute
	// askAgain is the pause between two looks at a service that is not there yet.
	askAgain = time.Second
	// askStill is the pause between two looks at a service that was there.
	askStill = 5 * time.Second
)

// tlsConfig reads the files of a connection's TLS: ca, cert and key may be empty. what is the section that errors name.
func tlsConfig(what, ca, cert, key string, insecure bool) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: insecure} //nolint:gosec // whoever sets it is told
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("%s.ca: %w", what, err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s.ca: %s holds no certificate", what, ca)
		}
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("%s.cert: %w", what, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// kafkaClient gives the Kafka part of the configuration.
func kafkaClient(c config.Kafka) kafka.Client {
	client := kafka.Client{
		Brokers: c.Brokers, ClientID: c.ClientID,
		TLS: kafka.TLS{
			Enabled: c.TLS, CAFile: c.CA, CertFile: c.Cert, KeyFile: c.Key, ServerName: c.ServerName,
			InsecureSkipVerify: c.InsecureSkipVerify,
		},
	}
	if c.SASL != "none" {
		client.SASL = kafka.SASL{Mechanism: c.SASL, User: c.User, Password: c.Password}
	}
	return client
}

// topics reads kafka.topics: the names, and what is said of their form and log.
func topics(list []string) (names []string, known map[string]envelope.Topic) {
	known = map[string]envelope.Topic{}
	for _, t := range list {
		name, what, ok := strings.Cut(t, "=")
		names = append(names, name)
		switch {
		case !ok:
		case what == "eve":
			known[name] = envelope.Topic{Form: consumer.FormEVE}
		case what == "goflow2":
			known[name] = envelope.Topic{Form: consumer.FormGoflow2}
		default:
			known[name] = envelope.Topic{Log: what}
		}
	}
	return names, known
}

// producer lets sinks write through the driver's package.
type producer struct {
	*kafka.Producer
	inFlight *inFlight
}

// inFlight tells since when something is being written.
type inFlight struct {
	mu    sync.Mutex
	n     int
	since time.Time
}

func (f *inFlight) begin() (end func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n++; f.n == 1 {
		f.since = time.Now()
	}
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.n--
		f.since = time.Now()
	}
}

// stuck tells that something is being written and nothing was for a while.
func (f *inFlight) stuck() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n > 0 && time.Since(f.since) > stuckFor
}

// Produce implements kafka.Producer of the sinks.
func (p producer) Produce(ctx context.Context, msgs []out.Message) error {
	list := make([]kafka.Message, len(msgs))
	for i, m := range msgs {
		list[i] = kafka.Message{Topic: m.Topic, Key: m.Key, Value: m.Value}
	}
	defer p.inFlight.begin()()
	err := p.Producer.Produce(ctx, list)
	var refused *kafka.ProduceError
	if !errors.As(err, &refused) {
		return err
	}
	r := &out.Refused{Err: err}
	for _, f := range refused.Failed {
		if !f.Blamed() {
			return err // a right that is missing, say: nothing is given up for it
		}
		r.Messages = append(r.Messages, f.Index)
	}
	return r
}

// names are the topics that are written.
func names(c config.Kafka) out.Names {
	return out.Names{Hits: c.HitsTopic, Pools: c.PoolsTopic, Probes: c.ProbesTopic, Dead: c.DeadTopic, Enriched: c.EnrichedTopic}
}

// annotator lets the engine's annotated records go to Kafka.
type annotator struct{ *out.Annotator }

// Annotate implements enrich.Annotator.
func (a annotator) Annotate(ctx context.Context, records []enrich.Annotated) error {
	list := make([]out.Annotated, len(records))
	for i := range records {
		r := &records[i]
		note := ecs.Annotation{Status: r.Status, Endpoint: r.Server, Scorer: r.Scorer, Score: r.Score, Threshold: r.Threshold}
		if r.Status == minecanary.HitConfirmed {
			note.Coin, note.Dialect = r.Verdict.Coin, r.Verdict.Dialect
		}
		for _, e := range r.Evidence {
			if e.Kind == "block-list" && note.Pool == "" {
				note.Pool = e.Summary
			}
		}
		list[i] = out.Annotated{Record: r.Record, Client: r.Client, Note: note}
	}
	return a.Annotator.Annotate(ctx, list)
}

// deadSink writes dead letters before what they came with is acknowledged.
type deadSink struct{ *out.DeadLetters }

// Write implements enrich.Sink.
func (deadSink) Write(context.Context, []minecanary.Hit) error { return nil }

// failing gives a callback for failures that are tried again: counted, and told of the first of a row.
func (s *service) failing(what string) func(error) {
	return func(err error) {
		s.status.failures.WithLabelValues(what).Inc()
		s.quiet.tell(what+err.Error(), func() {
			s.log.Warn("trying again", slog.String("what", what), slog.Any("error", err))
		})
	}
}

// openKafka opens what is written to Kafka.
func (s *service) openKafka(deps *enrich.Deps) {
	c := s.cfg.Kafka
	if len(c.Brokers) == 0 {
		return
	}
	p := producer{kafka.NewProducer(kafka.ProducerConfig{Client: kafkaClient(c)}), &s.producing}
	s.close = append(s.close, p)
	s.produce = p
	s.dead = out.NewDeadLetters(p, c.DeadTopic, time.Now, s.failing("kafka"))
	s.toKafka = out.NewSink(p, names(c), s.dead, s.failing("kafka"))
	deps.Sinks = append(deps.Sinks, s.toKafka)
	if c.EnrichedTopic != "" {
		s.annotated = out.NewAnnotator(p, c.EnrichedTopic, s.failing("kafka"))
		deps.Annotator = annotator{s.annotated}
	}
}

// openElasticsearch opens the sink for Elasticsearch.
func (s *service) openElasticsearch(deps *enrich.Deps) error {
	if len(s.cfg.Elasticsearch.URLs) == 0 {
		return nil
	}
	client, err := newElasticsearch(s.cfg.Elasticsearch, s.buryDocument, s.failing("elasticsearch"))
	if err != nil {
		return err
	}
	s.elastic = client
	s.status.missing.note("elasticsearch", errNotAsked)
	s.close = append(s.close, closer(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		return client.Close(ctx)
	}))
	sink, err := elasticsearch.NewSink(client)
	if err != nil {
		return err
	}
	deps.Sinks = append(deps.Sinks, sink)
	return nil
}

func newElasticsearch(c config.Elasticsearch, bury func(context.Context, elasticsearch.Dead) error, failing func(error)) (*elasticsearch.Client, error) {
	t, err := tlsConfig("elasticsearch", c.CA, "", "", c.InsecureSkipVerify)
	if err != nil {
		return nil, err
	}
	return elasticsearch.New(elasticsearch.Config{
		URLs: c.URLs, APIKey: c.APIKey, User: c.User, Password: c.Password, TLS: t, Compress: true, Retention: c.Retention,
		DeadLetter: bury, OnError: failing,
	})
}

// buryDocument keeps a document that Elasticsearch refuses, safely, before the write goes on.
func (s *service) buryDocument(ctx context.Context, d elasticsearch.Dead) error {
	s.status.failures.WithLabelValues("elasticsearch_refused").Inc()
	s.quiet.tell("refused"+d.Reason, func() {
		s.log.Error("Elasticsearch refused a document", slog.String("index", d.Index), slog.String("id", d.ID), slog.Int("status", d.Status))
	})
	if s.dead != nil {
		err := s.dead.Add(ctx, out.Dead{Index: d.Index, ID: d.ID, Reason: "elasticsearch_refused", Error: d.Reason, Sample: d.Document})
		if err != nil {
			return err
		}
		return s.dead.Flush(ctx)
	}
	return s.bad.document(d)
}

// openShared opens Redis and the topics.
func (s *service) openShared(deps *enrich.Deps, ecfg *enrich.Config, scorer score.Scorer) error {
	c := s.cfg.Redis
	var t *tls.Config
	var err error
	if c.TLS {
		if t, err = tlsConfig("redis", c.CA, c.Cert, c.Key, c.InsecureSkipVerify); err != nil {
			return err
		}
	}
	client, err := redis.Connect(redis.ClientConfig{
		Mode: redis.Mode(c.Mode), Addrs: c.Addresses, Master: c.Master, User: c.User, Password: c.Password,
		SentinelUser: c.SentinelUser, SentinelPassword: c.SentinelPassword, DB: c.DB, TLS: t, Timeout: redisTimeout,
	})
	if err != nil {
		return err
	}
	read, known := topics(s.cfg.Kafka.Topics)
	store, err := redis.New(client, redis.Config{
		Prefix: c.Prefix, Max: s.cfg.Suspect.Max, Report: s.cfg.Report.Window, Inactive: s.cfg.Suspect.Inactive,
		Topics: read, Rank: rank(scorer), OnError: s.failing("redis"),
	})
	if err != nil {
		return err
	}
	s.close = append(s.close, store)
	deps.Store, deps.Queue = store, redis.NewQueue(client, c.Prefix)
	deps.Facts = redis.NewFacts(client, c.Prefix, s.failing("redis"))
	s.purse, s.shared, s.sweeps = redis.NewPurse(client, c.Prefix), redis.NewLists(client, c.Prefix), redis.NewSweeps(client, c.Prefix)
	s.status.missing.note("redis", errNotAsked)
	s.await = func(ctx context.Context) error {
		if err := redis.Check(ctx, client); err != nil {
			return err
		}
		return store.Agree(ctx)
	}

	k := s.cfg.Kafka
	src := kafka.New(kafka.Config{
		Client: kafkaClient(k), Topics: read, Group: k.Group, From: k.From, Rebuild: k.Rebuild,
		Start: func(ctx context.Context, partition string, committed int64, resolve func(bool) (int64, error)) (consumer.Start, error) {
			from, cuts, token, err := store.Claim(ctx, partition, committed, resolve)
			return consumer.Start{Offset: from, Cuts: cuts, Token: token}, err
		},
		OnError: func(partition string, err error) {
			s.status.inputErrors.Inc()
			s.inputError.Store(&inputError{time.Now(), err})
			s.quiet.tell(partition+err.Error(), func() {
				s.log.Warn("input", slog.String("partition", partition), slog.Any("error", err))
			})
		},
	})
	s.source, s.topics = src, src
	s.stage = decode.New(decode.Config{
		Topics: known, Marked: decode.SkipMarked, OnBad: s.badMessage, KeepOrigin: k.EnrichedTopic != "", Now: time.Now,
		OnInterimMissing: s.interimMissing, Slicer: newSlicer(s.cfg), EVE: meters(s.cfg),
	})
	ecfg.AtEnd, ecfg.Restart = src.AtEnd, src.Restart
	began := time.Now()
	ecfg.Partitions = func() []string {
		all := src.Partitions()
		for _, topic := range read {
			missing := !slices.ContainsFunc(all, func(p string) bool { return strings.HasPrefix(p, topic+"/") })
			if missing && time.Since(began) < topicsWithin {
				return nil // nothing is decided before all partitions are known
			}
		}
		return all
	}
	ecfg.SaveEvery = settleEvery
	return nil
}

// badMessage keeps a message that could not be read.
func (s *service) badMessage(bad decode.Bad) error {
	if s.dead != nil {
		_, number, _ := strings.Cut(bad.Partition, "/")
		partition, _ := strconv.ParseInt(number, 10, 32)
		// The context is that of the whole run: what cannot be written holds the partition.
		err := s.dead.Add(s.ctx, out.Dead{Topic: bad.Topic, Partition: int32(partition), Offset: bad.Offset, Reason: bad.Reason, Sample: bad.Data})
		if err != nil {
			return err
		}
	}
	return s.bad.take(bad)
}

// watchOver asks for a service from time to time, so that /readyz tells when it is away. Whoever needs it waits by itself.
func (s *service) watchOver(ctx context.Context, what string, ask func(context.Context) error) error {
	return every(ctx, askStill, func() { _ = s.askFor(ctx, what, ask) }) // noted, which is all there is to do
}

// askFor asks once for a service and notes whether it answers, unless the context ended.
func (s *service) askFor(ctx context.Context, what string, ask func(context.Context) error) error {
	asked, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	err := ask(asked)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.status.missing.note(what, err)
	return err
}

// waitFor asks for a service until it answers; what it does not cure by waiting ends it.
func (s *service) waitFor(ctx context.Context, what string, ask func(context.Context) error) error {
	for {
		switch err := s.askFor(ctx, what, ask); {
		case err == nil, errors.Is(err, redis.ErrUnfit):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		default:
			s.failing(what)(err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(askAgain):
		}
	}
}
