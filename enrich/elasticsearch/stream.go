package elasticsearch

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/elastic/go-elasticsearch/v8/esapi"
)

// No document twice
//
// "create" refuses an id that the data stream's newest backing index has (409), which is all that a repeat needs until the
// stream rolls over: then the id is created again in the next backing index. So a document is looked up before it is
// created in every backing index that it can have been written to: those that were the newest at its earliest time or
// later. The earliest time follows from the document alone (its window, its verdict), so it does not matter which
// process wrote it before, or whether this one knows. A stream that was rolled over well before the document's time
// needs no look-up, and a write costs one request.
//
// A rollover that nobody told us of is seen in the answer: it names the backing index. Whatever was created in another
// than the newest we knew is looked up afterwards, and the younger copy deleted if there is an older one. A look-up that
// comes upon two copies (a process died between the two steps) does the same.
//
// Look-ups read by id in a named index (multi get), which sees what no refresh has made searchable yet.
//
// What is left: a request that timed out here, is carried out by Elasticsearch only later, was assigned to its backing
// index before a rollover, and whose repeat was looked up in between. The copies carry the same id, so a reader can drop one.

// backing is a backing index of a data stream.
type backing struct {
	name    string
	created time.Time
}

// stream is what is known of a data stream.
type stream struct {
	name string

	mu sync.Mutex
	// indices are its backing indices from the newest; none if there is no such stream yet.
	indices []backing
	// stale tells that they have to be asked for before the next write.
	stale bool
}

// candidates gives the backing indices, from the newest, that may hold what was not written before the given time: back
// to the first that was created by then.
func (s *stream) candidates(notBefore time.Time) []backing {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.indices {
		if !s.indices[i].created.After(notBefore) {
			return s.indices[: i+1 : i+1]
		}
	}
	return slices.Clip(s.indices)
}

// newest is the backing index that is thought to be written to, "" if none is known.
func (s *stream) newest() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.indices) == 0 {
		return ""
	}
	return s.indices[0].name
}

func (s *stream) doubt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stale = true
}

// refresh asks for the backing indices if they are in doubt.
func (c *Client) refresh(ctx context.Context, s *stream) error {
	s.mu.Lock()
	stale := s.stale
	s.mu.Unlock()
	if !stale {
		return nil
	}
	c.count(func(st *Stats) { st.Lookups++ })
	var settings map[string]struct {
		Settings struct {
			Index struct {
				CreationDate string `json:"creation_date"`
			} `json:"index"`
		} `json:"settings"`
	}
	req := esapi.IndicesGetSettingsRequest{Index: []string{s.name}, FilterPath: []string{"*.settings.index.creation_date"}}
	f := c.call(ctx, "list backing indices of "+s.name, req, &settings)
	if f != nil && f.status != http.StatusNotFound {
		return f
	}
	indices := make([]backing, 0, len(settings))
	for name, v := range settings {
		// An unreadable date counts as now: the index is looked into, and so is the one before it.
		created := c.cfg.Now()
		if ms, err := strconv.ParseInt(v.Settings.Index.CreationDate, 10, 64); err == nil {
			created = time.UnixMilli(ms)
		}
		indices = append(indices, backing{name, created})
	}
	slices.SortFunc(indices, func(a, b backing) int {
		if d := generation(b.name) - generation(a.name); d != 0 {
			return d
		}
		return b.created.Compare(a.created)
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.indices, s.stale = indices, false
	return nil
}

// generation is the number at the end of a backing index's name, which grows by one with each rollover. A shrunken or
// mounted index keeps it behind a prefix, while its creation date may be a new one.
func generation(index string) int {
	n, err := strconv.Atoi(index[strings.LastIndexByte(index, '-')+1:])
	if err != nil {
		return 0
	}
	return n
}

// lookup finds out which backing indices hold the items; the result is by item, each from the newest.
func (c *Client) lookup(ctx context.Context, s *stream, items []item) ([][]string, error) {
	type get struct {
		Index string `json:"_index"`
		ID    string `json:"_id"`
	}
	found := make([][]string, len(items))
	var gets []get
	var of []int
	ask := func() error {
		defer func() { gets, of = gets[:0], of[:0] }()
		if len(gets) == 0 {
			return nil
		}
		body, err := json.Marshal(map[string]any{"docs": gets})
		if err != nil {
			return err
		}
		var answer struct {
			Docs []struct {
				Found bool      `json:"found"`
				Error *esReason `json:"error"`
			} `json:"docs"`
		}
		c.count(func(st *Stats) { st.Lookups++ })
		req := esapi.MgetRequest{
			Body: bytes.NewReader(body), Source: []string{"false"}, FilterPath: []string{"docs.found", "docs._id", "docs.error.type"},
		}
		what := "look up documents of " + s.name
		if f := c.call(ctx, what, req, &answer); f != nil {
			return f
		}
		if len(answer.Docs) != len(gets) {
			return &failure{what: what, reason: fmt.Sprintf("%d answers to %d questions", len(answer.Docs), len(gets))}
		}
		for i, doc := range answer.Docs {
			switch {
			case doc.Error == nil && doc.Found:
				found[of[i]] = append(found[of[i]], gets[i].Index)
			case doc.Error == nil:
			case doc.Error.Type == "index_not_found_exception" || doc.Error.Type == "index_closed_exception":
				// Its retention has ended, or it was taken out of service: nobody sees what it holds.
			default:
				return &failure{what: what, reason: doc.Error.Type}
			}
		}
		return nil
	}
	for i := range items {
		for _, index := range s.candidates(items[i].notBefore) {
			gets, of = append(gets, get{index.name, items[i].id}), append(of, i)
			if len(gets) == maxLookups {
				if err := ask(); err != nil {
					return nil, err
				}
			}
		}
	}
	return found, ask()
}

// remove deletes copies: all but the last of each item, which is the oldest.
func (c *Client) remove(ctx context.Context, s *stream, items []item, found [][]string) error {
	var body bytes.Buffer
	copies := 0
	for i, indices := range found {
		for _, index := range indices[:max(0, len(indices)-1)] {
			line, err := json.Marshal(map[string]any{"delete": map[string]string{"_index": index, "_id": items[i].id}})
			if err != nil {
				return err
			}
			body.Write(append(line, '\n'))
			copies++
		}
	}
	if copies == 0 {
		return nil
	}
	what := "delete second copies in " + s.name
	var answer bulkAnswer
	req := esapi.BulkRequest{Body: bytes.NewReader(body.Bytes()), FilterPath: bulkFilter}
	f := c.call(ctx, what, req, &answer)
	var removed, kept uint64
	for _, it := range answer.Items {
		switch r := it["delete"]; r.Status {
		case http.StatusOK, http.StatusNotFound:
			removed++
		case http.StatusForbidden:
			kept++
		default:
			f = &failure{what: what, status: r.Status, reason: r.reason().Type}
		}
	}
	switch {
	case f == nil && kept > 0:
		f = &failure{what: what, status: http.StatusForbidden, reason: "the right to delete is missing"}
	case f != nil && f.status == http.StatusForbidden:
		kept = uint64(copies)
	}
	c.count(func(st *Stats) { st.Removed += removed; st.Kept += kept })
	if f == nil {
		return nil
	}
	if f.status == http.StatusForbidden {
		// A right that is missing for this alone must not hold up everything.
		c.cfg.OnError(f)
		return nil
	}
	return f
}
