package web

import (
	"cmp"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/changes"
)

// Bounds of what is shown of this instance.
const (
	hitsPage    = 50
	maxSuspects = 1000
	changesPage = 50
)

// Local is what this instance found in the records it was given.
type Local interface {
	// Hits gives hits, the newest first, at most limit. before is what the call for the page before gave as next, "" for
	// the newest; next is "" behind the last.
	Hits(limit int, before string) (rows []HitRow, next string, err error)
	// Suspects gives those with the best score first, at most limit.
	Suspects(limit int) ([]SuspectRow, error)
}

// HitRow is a hit as a page shows it.
type HitRow struct {
	// ID is that of minecanary.Hit.
	ID       string
	Client   netip.Addr
	Endpoint minecanary.Endpoint
	Status   minecanary.HitStatus
	// Verdict is of the endpoint when the hit was reported, Dialect and Reason are those of the verdict.
	Verdict         minecanary.VerdictStatus
	Dialect, Reason string
	// FirstSeen and LastSeen are when the client used the endpoint, Found is when it was reported.
	FirstSeen, LastSeen, Found time.Time
	// Records is how many records of the sensor are joined in it, Bytes what the client sent and got.
	Records uint32
	Bytes   uint64
	Score   minecanary.Score
	// Evidence is what else speaks for it, the strongest first.
	Evidence []minecanary.Evidence
}

// SuspectRow is a client that may mine at an endpoint.
type SuspectRow struct {
	Client   netip.Addr
	Endpoint minecanary.Endpoint
	// Verdict is of the endpoint, "" if it was not asked.
	Verdict             minecanary.VerdictStatus
	FirstSeen, LastSeen time.Time
	Records             uint32
	Bytes               uint64
	Score               minecanary.Score
}

// maxEvidence and maxCriteria are how many are shown of each.
const (
	maxEvidence = 20
	maxCriteria = 30
)

func (c *call) hits() error {
	if c.cfg.Local == nil {
		return notFound("This instance looks for no miners.")
	}
	rows, next, err := c.cfg.Local.Hits(hitsPage, c.r.URL.Query().Get("before"))
	if err != nil {
		return fmt.Errorf("hits: %w", err)
	}
	body := struct {
		Rows    []hitView
		Next    string
		Earlier bool
	}{Earlier: c.r.URL.Query().Get("before") != ""}
	for i := range rows {
		body.Rows = append(body.Rows, c.viewOf(rows[i]))
	}
	if next != "" && len(next) <= maxText {
		body.Next = "/hits?" + url.Values{"before": {next}}.Encode()
	}
	return c.show("hits", "Hits", body)
}

// hitView is a hit with what the catalogue says of its endpoint.
type hitView struct {
	HitRow
	EndpointText, Href string
	Pool               *link
}

func (c *call) viewOf(r HitRow) hitView {
	r.Evidence, r.Score.Criteria = r.Evidence[:min(len(r.Evidence), maxEvidence)], r.Score.Criteria[:min(len(r.Score.Criteria), maxCriteria)]
	v := hitView{HitRow: r, EndpointText: netip.AddrPortFrom(r.Endpoint.Addr, r.Endpoint.Port).String(), Href: endpointPath(r.Endpoint.Addr, r.Endpoint.Port)}
	if _, row := c.cfg.Index.Mark(r.Endpoint, r.LastSeen); row.Pool != nil {
		v.Pool = &link{brief(row.Pool.Name), poolPath(row.Pool.ID)}
	} else if r.Verdict == "" || r.Verdict == minecanary.Unknown {
		v.Href = addressPath(r.Endpoint.Addr) // there is no page of what nobody knows
	}
	return v
}

func (c *call) suspects() error {
	if c.cfg.Local == nil {
		return notFound("This instance looks for no miners.")
	}
	rows, err := c.cfg.Local.Suspects(maxSuspects)
	if err != nil {
		return fmt.Errorf("suspects: %w", err)
	}
	type row = SuspectRow
	columns := []column[row]{
		{key: "client", label: "Client", compare: byAddress(func(r *row) netip.Addr { return r.Client }), cell: func(r *row) cell { return cell{Text: r.Client.String()} }},
		{key: "server", label: "Server", compare: byAddress(func(r *row) netip.Addr { return r.Endpoint.Addr }), cell: func(r *row) cell {
			return cell{Text: r.Endpoint.Addr.String(), Href: addressPath(r.Endpoint.Addr)}
		}},
		{key: "port", label: "Port", number: true, compare: by(func(r *row) uint16 { return r.Endpoint.Port }), cell: func(r *row) cell { return number(int(r.Endpoint.Port)) }},
		{key: "score", label: "Score", number: true, compare: by(func(r *row) float64 { return r.Score.Points }), cell: func(r *row) cell {
			return cell{Text: decimal(r.Score.Points) + " of " + decimal(r.Score.Threshold)}
		}},
		{key: "scorer", label: "Scorer", cell: func(r *row) cell { return cell{Text: brief(r.Score.Scorer)} }},
		{key: "verdict", label: "Verdict", compare: byWord(func(r *row) string { return string(r.Verdict) }), filter: true, cell: func(r *row) cell {
			return cell{Status: cmp.Or(string(r.Verdict), "not asked")}
		}},
		{key: "criteria", label: "Why", cell: func(r *row) cell {
			var why []string
			for _, k := range r.Score.Criteria[:min(len(r.Score.Criteria), maxCriteria)] {
				why = append(why, visible(k.Reason, briefText)+" ("+decimal(k.Points)+")")
			}
			return cell{Hostile: strings.Join(why, "; ")}
		}},
		{key: "records", label: "Records", number: true, compare: by(func(r *row) uint32 { return r.Records }), cell: func(r *row) cell { return number(int(r.Records)) }},
		{key: "bytes", label: "Bytes", number: true, compare: by(func(r *row) uint64 { return r.Bytes }), cell: func(r *row) cell { return cell{Text: strconv.FormatUint(r.Bytes, 10)} }},
		{key: "first_seen", label: "First seen", compare: byTime(func(r *row) time.Time { return r.FirstSeen }), cell: func(r *row) cell { return cell{Time: r.FirstSeen} }},
		{key: "last_seen", label: "Last seen", compare: byTime(func(r *row) time.Time { return r.LastSeen }), cell: func(r *row) cell { return cell{Time: r.LastSeen} }},
	}
	t := table{Empty: "No suspects. They come as soon as records are read that look like mining."}
	return list(c, "Suspects", "Clients that this instance watches because their traffic looks like mining.", nil, t, columns, rows)
}

func decimal(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

func (c *call) changes() error {
	if c.cfg.Changes == nil {
		return notFound("No journal is kept here.")
	}
	before, err := strconv.ParseUint(c.r.URL.Query().Get("before"), 10, 64)
	if err != nil {
		before = 0
	}
	entries, skipped, err := c.cfg.Changes.Read(before, changesPage)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	body := struct {
		Entries []entryView
		Skipped int
		Next    string
		Earlier bool
	}{Skipped: skipped, Earlier: before > 0}
	for _, e := range entries {
		body.Entries = append(body.Entries, entryView{e, string(e.Before), string(e.After)})
	}
	if n := len(entries); n == changesPage && entries[n-1].Number > 1 {
		body.Next = "/changes?before=" + strconv.FormatUint(entries[n-1].Number, 10)
	}
	return c.show("changes", "Changes", body)
}

type entryView struct {
	changes.Entry
	BeforeText, AfterText string
}
