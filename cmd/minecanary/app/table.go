package app

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/enrich/ecs"
)

// table is the sink for people: it collects hits and prints one entry per client and endpoint, strongest first.
type table struct {
	rows map[minecanary.Pair]*tableRow
}

type tableRow struct {
	hit               minecanary.Hit // the strongest, then the newest
	reports           int
	bytes, packets    uint64
	firstSeen, lastAt int64
}

func newTable() *table { return &table{rows: map[minecanary.Pair]*tableRow{}} }

// Write implements enrich.Sink.
func (t *table) Write(_ context.Context, hits []minecanary.Hit) error {
	for _, h := range hits {
		r := t.rows[h.Pair]
		if r == nil {
			r = &tableRow{hit: h, firstSeen: h.FirstSeen}
			t.rows[h.Pair] = r
		}
		if c := int(h.Status.Strength()) - int(r.hit.Status.Strength()); c > 0 || c == 0 && h.Window >= r.hit.Window {
			r.hit = h
		}
		r.reports++
		r.packets += h.InWindow.ClientPackets + h.InWindow.ServerPackets
		r.bytes += h.InWindow.ClientBytes + h.InWindow.ServerBytes
		r.firstSeen = min(r.firstSeen, h.FirstSeen)
		r.lastAt = max(r.lastAt, h.LastSeen)
	}
	return nil
}

// Flush implements enrich.Sink.
func (t *table) Flush(context.Context) error { return nil }

// print writes the table; colour where asked for. nothing is what to say if it is empty.
func (t *table) print(w io.Writer, colour bool, nothing string) error {
	rows := make([]*tableRow, 0, len(t.rows))
	for _, r := range t.rows {
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b *tableRow) int {
		if c := int(b.hit.Status.Strength()) - int(a.hit.Status.Strength()); c != 0 {
			return c
		}
		return a.hit.Compare(b.hit.Pair)
	})
	if len(rows) == 0 {
		_, err := fmt.Fprintln(w, nothing)
		return err
	}
	var out strings.Builder
	for _, r := range rows {
		h := &r.hit
		status := fmt.Sprintf("%-9s", strings.ToUpper(string(h.Status)))
		if colour {
			status = paint(h.Status, status)
		}
		what := strings.TrimSpace(h.Verdict.Dialect + " " + h.Verdict.Coin)
		if h.Status != minecanary.HitConfirmed || what == "" {
			what = ""
		} else if h.Verdict.TLS {
			what += " tls"
		}
		fmt.Fprintln(&out, strings.TrimSpace(fmt.Sprintf("%s  %s -> %s  %s", status, h.Client, h.Server, what)))
		if h.Status == minecanary.HitSuspected {
			fmt.Fprintf(&out, "           asked  %s\n", asked(h.Verdict))
		} else {
			fmt.Fprintf(&out, "           why    %s\n", ecs.Reason(h))
		}
		for _, ev := range h.Verdict.Evidence {
			fmt.Fprintf(&out, "           %-6s %s (%s)\n", ev.Kind, ev.Summary, ev.Strength)
		}
		fmt.Fprintf(&out, "           score  %s %g of %g: %s\n", h.Score.Scorer, h.Score.Points, h.Score.Threshold, criteria(h.Score))
		fmt.Fprintf(&out, "           seen   %s UTC for %s, %d packets, %s; %d of %d slices only ACK or ACK+PSH; %s\n",
			time.UnixMicro(r.firstSeen).UTC().Format("2006-01-02 15:04:05"),
			ecs.Span(time.Duration(r.lastAt-r.firstSeen)*time.Microsecond), r.packets, size(r.bytes),
			h.Seen.Pure(), h.Seen.Counted(), counted(r.reports, "report"))
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// asked says what asking the server gave.
func asked(v minecanary.Verdict) string {
	if v.Status == minecanary.Unknown {
		return "no"
	}
	return string(v.Status) + ": " + v.Reason
}

// criteria lists what earned or cost points.
func criteria(s minecanary.Score) string {
	var parts []string
	for _, c := range s.Criteria {
		if c.Points != 0 {
			parts = append(parts, fmt.Sprintf("%s (%+g)", c.Reason, c.Points))
		}
	}
	if parts == nil {
		return "nothing speaks for it"
	}
	return strings.Join(parts, "; ")
}

// paint gives the ANSI colours of a status: red, yellow, cyan.
func paint(s minecanary.HitStatus, text string) string {
	code := map[minecanary.HitStatus]string{
		minecanary.HitConfirmed: "1;31", minecanary.HitKnown: "1;33", minecanary.HitSuspected: "36",
	}[s]
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// size writes bytes for people.
func size(n uint64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}

func counted(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
