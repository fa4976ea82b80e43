package enrich

import (
	"slices"

	"github.com/minecanary/minecanary"
)

// chain adds up the stretch that ends with segment i: the segments before it as long as the gap is within the inactive
// timeout, and as long as they reach into the active timeout before the newest slice.
//
// It is the order-free form of the seed's two timeouts: the seed removes a row after either, here older segments no
// longer count. A record that ends in a window counts for the gap from the window's begin, even if it started earlier:
// when the window before was decided it was not known yet, and what had been silent for too long by then had left.
func chain(segments []Segment, i int, cfg Config) minecanary.Aggregate {
	sum := segments[i].Aggregate
	inactive, horizon := cfg.Inactive.Microseconds(), sum.Last-cfg.Active.Microseconds()
	for k := i; k+1 < len(segments); k++ {
		newer, older := &segments[k], &segments[k+1]
		begin := newer.Aggregate.First
		if newer.Window != older.Window {
			begin = max(begin, int64(newer.Window)*max(1, cfg.Report.Microseconds()))
		}
		if begin-older.Aggregate.Last > inactive || older.Aggregate.Last < horizon {
			break
		}
		sum.Merge(&older.Aggregate)
	}
	return sum
}

// window is the segments begin to end (exclusive) that share a report window.
type window struct {
	window     Window
	begin, end int
	reports    uint8
	told       uint8
	closed     bool // all of them
	sum        minecanary.Aggregate
}

// windowAt gives the window that begins at segment i.
func windowAt(segments []Segment, i int) window {
	w := window{window: segments[i].Window, begin: i, closed: true}
	for w.end = i; w.end < len(segments) && segments[w.end].Window == w.window; w.end++ {
		seg := &segments[w.end]
		w.sum.Merge(&seg.Aggregate)
		w.reports, w.told = max(w.reports, seg.Reports), max(w.told, seg.Told)
		w.closed = w.closed && seg.Closed
	}
	return w
}

// reported notes one report more, with the status it told. The number stops at 255.
func (w window) reported(segments []Segment, status minecanary.HitStatus) {
	for i := w.begin; i < w.end; i++ {
		segments[i].Reports = max(w.reports, w.reports+1)
		segments[i].Told = max(w.told, status.Strength())
	}
}

// hit makes the report of one window.
func (e *Engine) hit(s *Suspect, w window, g ground) minecanary.Hit {
	_, seen := e.best(s, w)
	first := seen.First
	for i := range s.Segments {
		first = min(first, s.Segments[i].Aggregate.First)
	}
	h := minecanary.Hit{
		Pair: s.Pair, Status: g.status, Verdict: g.verdict, Evidence: g.evidence,
		Score:  e.scorer.Explain(s.Server.Port, &seen),
		Window: w.window, Report: e.cfg.Report, Sequence: uint32(w.reports), EventScale: w.sum.Records,
		InWindow: w.sum, Seen: seen, FirstSeen: first, LastSeen: w.sum.Last,
		ClientPort: s.Segments[w.begin].ClientPort, UID: s.Segments[w.begin].UID, Sensor: s.Segments[w.begin].Sensor, Found: e.cfg.Now(),
	}
	if h.Verdict.Status == "" {
		h.Verdict.Status = minecanary.Unknown
	}
	if h.Login, h.ServerName = e.facts.said(s.Pair); h.ServerName == "" {
		h.ServerName = e.names.of(s.Server)
	}
	if e.remark != nil {
		h.Evidence = append(slices.Clip(h.Evidence), e.remark(&h)...)
	}
	return h
}
