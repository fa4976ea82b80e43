package app

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer/decode"
	"github.com/minecanary/minecanary/enrich"
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
	ready       atomic.Bool
}

func newStatus() *status {
	s := &status{
		registry: prometheus.NewRegistry(),
		inputErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "minecanary_input_errors_total", Help: "Files that could not be read or may have lost data.",
		}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "minecanary_failures_total", Help: "Failures that the service survived.",
		}, []string{"what"}),
		feedEntries: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "minecanary_feed_endpoints", Help: "Endpoints in the published feed.",
		}),
		feedHeld: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "minecanary_feed_held_endpoints", Help: "Endpoints held back because too many are new.",
		}),
		feedAt: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "minecanary_feed_written_timestamp_seconds", Help: "When the feed was written last.",
		}),
	}
	s.registry.MustRegister(
		s.inputErrors, s.failures, s.feedEntries, s.feedHeld, s.feedAt,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return s
}

// watch adds the counters of the stage and the engine, which are read when somebody asks.
func (s *status) watch(svc *service) {
	s.registry.MustRegister(pipelineCollector{svc.stage, svc.engine})
	s.ready.Store(true)
}

func (s *status) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "ok\n")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !s.ready.Load() {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ready\n")
	})
	return mux
}

// pipelineCollector turns counters kept elsewhere into metrics.
type pipelineCollector struct {
	stage  *decode.Stage
	engine *enrich.Engine
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
	gauge := func(d *prometheus.Desc, v float64) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
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
	s := p.engine.Stats()
	for status, n := range s.Hits {
		count(desc("hits_total", "Reports of hits.", "status"), n, string(status))
	}
	for verdict, n := range s.Verdicts {
		count(desc("verdicts_total", "Answers of the prober.", "verdict"), n, string(verdict))
	}
	count(desc("probes_total", "Endpoints asked."), s.Asked)
	count(desc("probe_queue_dropped_total", "Endpoints left out because the queue was full."), s.Pushed)
	gauge(desc("probe_queue", "Endpoints waiting to be asked or being asked."), float64(s.Queued))
	count(desc("batches_repeated_total", "Batches that had been applied before."), s.Repeated)
	count(desc("allowed_slices_total", "Slices to endpoints on the allow list."), s.Allowed)
	count(desc("suspects_dropped_total", "Suspects given up because the bound was reached."), s.Store.Dropped)
	count(desc("verdicts_dropped_total", "Verdicts given up because the bound was reached."), s.Store.DroppedVerdicts)
	count(desc("windows_joined_total", "Report windows joined with younger ones because a suspect had too many."), s.Store.Joined)
	count(desc("future_batches_total", "Batches with a record from more than an hour ahead."), s.Future)
	gauge(desc("suspects", "Suspects in the state."), float64(s.Store.Suspects))
	gauge(desc("verdicts", "Verdicts in the state."), float64(s.Store.Verdicts))
	gauge(desc("newest_record_timestamp_seconds", "End of the newest record."), float64(s.Newest)/1e6)
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
