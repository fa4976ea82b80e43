package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/enrich/ecs"
)

// status serves /metrics, /healthz and /readyz.
type status struct {
	registry    *prometheus.Registry
	inputErrors prometheus.Counter
	failures    *prometheus.CounterVec
	feedEntries prometheus.Gauge
	feedHeld    prometheus.Gauge
	feedAt      prometheus.Gauge
	feedStale   prometheus.Gauge
	feedLost    prometheus.Gauge
	missing     missing
	// ready tells why the service is not ready, "" if it is.
	ready func() string
}

func newStatus() *status {
	s := &status{
		registry: prometheus.NewRegistry(),
		inputErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "minecanary_input_errors_total", Help: "Files and topics that could not be read or may have lost data.",
		}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "minecanary_failures_total", Help: "Failures that the service survived.",
		}, []string{"what"}),
		feedEntries: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "minecanary_feed_endpoints", Help: "Endpoints in the published feed.",
		}),
		feedHeld: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "minecanary_feed_held_endpoints", Help: "Endpoints that wait for approval.",
		}),
		feedAt: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "minecanary_feed_written_timestamp_seconds", Help: "When the feed was written last.",
		}),
		feedStale: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "minecanary_feed_stale", Help: "1 if the feed was not written for three heartbeats.",
		}),
		feedLost: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "minecanary_feed_lost_endpoints", Help: "Endpoints that left the feed within a day and have not returned.",
		}),
	}
	s.registry.MustRegister(
		s.inputErrors, s.failures, s.feedEntries, s.feedHeld, s.feedAt, s.feedStale, s.feedLost,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return s
}

// watch adds the counters of the stage and the engine, which are read when somebody asks.
func (s *status) watch(svc *service) {
	s.registry.MustRegister(pipelineCollector{svc})
	s.ready = svc.notReady
}

func (s *status) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "ok\n")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if why := s.ready(); why != "" {
			http.Error(w, "not ready: "+why, http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ready\n")
	})
	return mux
}

// pipelineCollector turns counters kept elsewhere into metrics.
type pipelineCollector struct{ *service }

// stuckFor is how long a write may take before the service counts as not ready.
const stuckFor = 10 * time.Second

// missing keeps, of the services elsewhere that do not answer, why.
type missing struct {
	mu  sync.Mutex
	why map[string]error
}

// note keeps why a service is missing; nil: it is there.
func (m *missing) note(service string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		delete(m.why, service)
		return
	}
	if m.why == nil {
		m.why = map[string]error{}
	}
	m.why[service] = err
}

// is tells whether a service is missing.
func (m *missing) is(service string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.why[service] != nil
}

// reasons gives them for people, sorted.
func (m *missing) reasons() (out []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for service, err := range m.why {
		out = append(out, fmt.Sprintf("%s does not answer: %v", service, err))
	}
	slices.Sort(out)
	return out
}

// errNotAsked is why a service is missing before it was asked for the first time.
var errNotAsked = errors.New("not asked yet")

// notReady says why the service does not work, "" if it does.
func (s *service) notReady() string {
	why := s.status.missing.reasons()
	if s.topics != nil && !s.topics.Ready() {
		reason := "no partitions of kafka yet"
		if last := s.inputError.Load(); last != nil && time.Since(last.at) < inputErrorFor {
			reason += ": " + last.err.Error()
		}
		why = append(why, reason)
	}
	if s.producing.stuck() {
		why = append(why, "kafka does not take messages")
	}
	if s.elastic != nil && !s.status.missing.is("elasticsearch") {
		if since := s.elastic.Stats().InFlightSince; !since.IsZero() && time.Since(since) > stuckFor {
			why = append(why, "elasticsearch does not take documents")
		}
	}
	return strings.Join(why, "; ")
}

// inputErrorFor is how long an error of a topic explains why the service is not ready.
const inputErrorFor = 30 * time.Second

// inputError is an error of reading a topic.
type inputError struct {
	at  time.Time
	err error
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("minecanary_"+name, help, labels, nil)
}

// Describe implements prometheus.Collector; the metrics are unchecked, as labels appear with what is seen.
func (pipelineCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (p pipelineCollector) Collect(out chan<- prometheus.Metric) {
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	c := p.stage.Counts()
	count(desc("records_total", "Connection records read."), c.Records)
	count(desc("input_bytes_total", "Bytes of records read, decompressed."), c.Bytes)
	count(desc("slices_total", "Slices counted."), c.Slices)
	count(desc("interim_missing_total", "Conn rows that repeat interim records of which none was seen."), c.InterimMissing)
	for reason, n := range c.Skipped {
		count(desc("skipped_total", "Lines that are no connection records.", "reason"), n, reason)
	}
	for reason, n := range c.Bad {
		count(desc("bad_total", "Lines that could not be read.", "reason"), n, reason)
	}
	for kind, n := range c.Sightings {
		count(desc("sightings_total", "What sensors saw beside traffic: mining, tls, dns, rule.", "kind"), n, kind)
	}
	s := p.engine.Stats()
	gauge(desc("names", "Names by which addresses were reached."), float64(s.Names))
	gauge(desc("facts", "What is known by sightings of clients and servers."), float64(s.Facts))
	count(desc("facts_dropped_total", "Such knowledge left out for its bounds."), s.FactsDropped)
	if p.watch != nil {
		w := p.watch.Stats()
		for what, n := range map[string]uint64{"seen": w.Seen, "repeated": w.Repeated, "delivered": w.Delivered, "failed": w.Failed, "dropped": w.Dropped} {
			count(desc("watch_events_total", "Watched wallets, by what became of telling it.", "outcome"), n, what)
		}
	}
	for status, n := range s.Hits {
		count(desc("hits_total", "Reports of hits.", "status"), n, string(status))
	}
	for verdict, n := range s.Verdicts {
		count(desc("verdicts_total", "Answers of the prober.", "verdict"), n, string(verdict))
	}
	count(desc("probes_total", "Endpoints asked."), s.Asked)
	count(desc("probe_queue_dropped_total", "Endpoints left out because the queue was full."), s.Pushed)
	gauge(desc("probe_queue", "Endpoints waiting to be asked or being asked."), float64(s.Queued))
	sweeps := p.directory.sweeper.Status()
	gauge(desc("catalogue_endpoints", "Endpoints of the catalogue."), float64(p.directory.register.Current().Len()))
	for kind, n := range map[string][2]int{"names": {sweeps.Names, sweeps.NamesDue}, "endpoints": {sweeps.Endpoints, sweeps.EndpointsDue}} {
		gauge(desc("catalogue_scheduled", "Names and endpoints on the catalogue's schedule.", "kind"), float64(n[0]), kind)
		gauge(desc("catalogue_due", "Those of them that are due.", "kind"), float64(n[1]), kind)
	}
	count(desc("catalogue_lookups_total", "Names of the catalogue looked up.", "outcome"), sweeps.Resolved-sweeps.Unresolved, "answered")
	count(desc("catalogue_lookups_total", "Names of the catalogue looked up.", "outcome"), sweeps.Unresolved, "failed")
	for verdict, n := range sweeps.Probed {
		count(desc("catalogue_verdicts_total", "Answers of the catalogue's endpoints.", "verdict"), n, string(verdict))
	}
	count(desc("batches_repeated_total", "Batches that had been applied before."), s.Repeated)
	count(desc("allowed_slices_total", "Slices to endpoints on the allow list."), s.Allowed)
	count(desc("suspects_dropped_total", "Suspects given up because the bound was reached."), s.Store.Dropped)
	count(desc("verdicts_dropped_total", "Verdicts given up because the bound was reached."), s.Store.DroppedVerdicts)
	count(desc("windows_joined_total", "Report windows joined with younger ones because a suspect had too many."), s.Store.Joined)
	count(desc("future_batches_total", "Batches with a record from more than an hour ahead."), s.Future)
	count(desc("batches_given_up_total", "Batches given up because their partition was started anew."), s.Given)
	count(desc("running_left_out_total", "Records of running connections left out until their last, because too many are remembered."), s.Store.LeftOut)
	gauge(desc("running_connections", "Connections remembered so that records which repeat others count once."), float64(s.Store.Connections))
	count(desc("clients_overflow_total", "Suspects left out because their endpoint had too many clients."), s.Store.Overflow)
	for form, n := range c.ByForm {
		count(desc("records_by_form_total", "Records by envelope and form.", "form"), n, form)
	}
	for sensor, end := range c.Newest {
		gauge(desc("sensor_newest_record_timestamp_seconds", "End of the newest record of a sensor.", "sensor"), float64(end)/1e6, sensor)
	}
	if p.topics != nil {
		count(desc("messages_total", "Messages of Kafka read."), c.Messages)
		for name, st := range p.topics.Stats() {
			gauge(desc("kafka_lag", "Messages of a partition that were not read yet.", "partition"), float64(st.Lag), name)
			gauge(desc("kafka_committed_offset", "The group's committed offset.", "partition"), float64(st.Committed), name)
			count(desc("kafka_reader_restarts_total", "Readers that made no progress and were replaced.", "partition"), uint64(st.Restarts), name)
		}
	}
	if p.dead != nil {
		count(desc("dead_letters_lost_total", "Dead letters that no broker takes."), p.dead.Lost())
		count(desc("documents_shortened_total", "Documents for Kafka that left out transcripts because they were too long."), p.toKafka.Shortened())
	}
	if p.annotated != nil {
		count(desc("annotated_too_long_total", "Annotated records left out because they were too long."), p.annotated.TooLong())
	}
	if p.elastic != nil {
		st := p.elastic.Stats()
		for outcome, n := range map[string]uint64{"indexed": st.Indexed, "repeated": st.Repeated, "refused": st.Dead, "retried": st.Retried, "removed": st.Removed, "kept_twice": st.Kept} {
			count(desc("elasticsearch_documents_total", "Documents handed to Elasticsearch, by what became of them.", "outcome"), n, outcome)
		}
	}
	gauge(desc("suspects", "Suspects in the state."), float64(s.Store.Suspects))
	gauge(desc("verdicts", "Verdicts in the state."), float64(s.Store.Verdicts))
	gauge(desc("newest_record_timestamp_seconds", "End of the newest record."), float64(s.Newest)/1e6)
	gauge(desc("decided_timestamp_seconds", "Event time before which all report windows were decided that this process decides."), float64(s.Decided)/1e6)
	gauge(desc("snapshot_timestamp_seconds", "When the state was saved last."), float64(s.Saved.Unix()))
}

// hitLog tells of hits in the log.
type hitLog struct{ log *slog.Logger }

// Write implements enrich.Sink.
func (l hitLog) Write(ctx context.Context, hits []minecanary.Hit) error {
	for i := range hits {
		h := &hits[i]
		l.log.LogAttrs(ctx, slog.LevelInfo, "hit", slog.String("status", string(h.Status)), slog.String("client", h.Client.String()),
			slog.String("server", h.Server.String()), slog.String("id", h.ID()), slog.String("reason", ecs.Reason(h)))
	}
	return nil
}

// Flush implements enrich.Sink.
func (hitLog) Flush(context.Context) error { return nil }
