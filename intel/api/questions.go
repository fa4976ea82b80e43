package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/minecanary/minecanary/intel/lookup"
)

// parse reads a question. An empty or overlong one is refused by its form, others by what they mean.
func parse(text string, at time.Time) (lookup.Query, error) {
	q, err := lookup.Parse(text)
	if err != nil {
		return q, problem(http.StatusUnprocessableEntity, "the question cannot be answered: %s", err)
	}
	q.At = at
	return q, nil
}

func (c *call) lookup() error {
	limit, err := c.number("limit", DefaultPage, MaxPage)
	if err != nil {
		return err
	}
	at, err := c.moment("at")
	if err != nil {
		return err
	}
	text, err := c.text("q")
	if err != nil {
		return err
	}
	if text == "" {
		return problem(http.StatusBadRequest, "the question q is missing")
	}
	format, err := c.accept(typeJSON, typeNDJSON, typeCSV)
	if err != nil {
		return err
	}
	q, err := parse(text, at)
	if err != nil {
		return err
	}
	result := c.cfg.Index.Find(q, limit)
	switch format {
	case typeCSV:
		var b bytes.Buffer
		if err := answerTable().csv(&b, answers(result), true); err != nil {
			return err
		}
		return c.send(http.StatusOK, typeCSVHeader, b.Bytes())
	case typeNDJSON:
		var b bytes.Buffer
		if err := lines(&b, result.Matches); err != nil {
			return err
		}
		return c.send(http.StatusOK, typeNDJSON, b.Bytes())
	}
	body, err := document(result)
	if err != nil {
		return err
	}
	return c.send(http.StatusOK, typeJSON, body)
}

// answer is a match beside its question.
type answer struct {
	query string
	known bool
	lookup.Match
}

// answers gives the lines of CSV for a result: one for each match, one for a question without any.
func answers(r lookup.Result) []answer {
	rows := make([]answer, 0, max(len(r.Matches), 1))
	for _, m := range r.Matches {
		rows = append(rows, answer{r.Query, true, m})
	}
	if len(rows) == 0 {
		rows = append(rows, answer{query: r.Query})
	}
	return rows
}

func answerTable() *table[answer] {
	t := &table[answer]{columns: []column[answer]{
		{name: "query", text: func(r *answer) string { return r.query }},
		yes("known", func(r *answer) bool { return r.known }),
	}}
	for _, col := range matchColumns() {
		t.columns = append(t.columns, column[answer]{name: col.name, text: func(r *answer) string { return col.text(&r.Match) }})
	}
	return t
}

// bulkRequest is the body of a bulk.
type bulkRequest struct {
	Queries []string `json:"queries"`
	// At is the time that all questions are about.
	At *string `json:"at"`
}

// bulkAnswer is the answer to one question of a bulk.
type bulkAnswer struct {
	lookup.Result
	// Error says why a question cannot be answered; the others are.
	Error string `json:"error,omitempty"`
}

// bulk answers many questions in their order. The answer is sent while it is made: it may be large.
func (c *call) bulk() error {
	limit, err := c.number("limit", MaxBulkMatches, MaxBulkMatches)
	if err != nil {
		return err
	}
	at, err := c.moment("at")
	if err != nil {
		return err
	}
	format, err := c.accept(typeJSON, typeNDJSON, typeCSV)
	if err != nil {
		return err
	}
	questions, bodyAt, err := c.questions()
	if err != nil {
		return err
	}
	if at.IsZero() {
		at = bodyAt
	}
	if c.w.Header().Set("Content-Type", format); format == typeCSV {
		c.w.Header().Set("Content-Type", typeCSVHeader)
	}
	select {
	case c.bulks <- struct{}{}:
		defer func() { <-c.bulks }()
	case <-c.r.Context().Done():
		return nil // nobody listens any more
	}
	c.deadline()
	out := bufio.NewWriterSize(c.w, 64<<10)
	enc, t := json.NewEncoder(out), answerTable()
	left := MaxBulkAll
	if format == typeJSON {
		_, _ = out.WriteString(`{"results":[`) // the last write tells
	}
	for i, text := range questions {
		r := c.answer(text, at, min(limit, max(left, 1)))
		if left < len(r.Matches) {
			r.Matches, r.More = []lookup.Match{}, true
		}
		left -= len(r.Matches)
		switch {
		case format == typeCSV:
			err = t.csv(out, answers(r.Result), i == 0)
		case format == typeJSON && i > 0:
			_ = out.WriteByte(',') // the next write tells
			fallthrough
		default:
			err = enc.Encode(&r)
		}
		if err != nil || c.r.Context().Err() != nil {
			return nil // nobody listens any more
		}
	}
	if format == typeJSON {
		_, _ = out.WriteString("]}\n")
	}
	_ = out.Flush() // whoever asked is gone
	return nil
}

func (c *call) answer(text string, at time.Time, limit int) bulkAnswer {
	q, err := lookup.Parse(text)
	if err == nil && !utf8.ValidString(text) {
		err = errors.New("a question that is not UTF-8")
	}
	if err != nil {
		if len(text) > lookup.MaxQuery {
			text = strings.ToValidUTF8(text[:lookup.MaxQuery], "") + "…"
		}
		return bulkAnswer{Result: lookup.Result{Query: text, At: at, Matches: []lookup.Match{}}, Error: err.Error()}
	}
	q.At = at
	return bulkAnswer{Result: c.cfg.Index.Find(q, limit)}
}

// questions reads the body of a bulk: JSON, or a question a line, where # begins a comment.
func (c *call) questions() (questions []string, at time.Time, err error) {
	kind, err := c.bodyType(typeJSON, typeText)
	if err != nil {
		return nil, at, err
	}
	if kind == typeJSON {
		var b bulkRequest
		if err := c.body(&b); err != nil {
			return nil, at, err
		}
		if b.At != nil {
			if at, err = parseMoment("at", *b.At); err != nil {
				return nil, at, err
			}
		}
		if len(b.Queries) == 0 || len(b.Queries) > MaxBulk {
			return nil, at, problem(http.StatusBadRequest, "there have to be 1 to %d questions", MaxBulk)
		}
		questions = b.Queries
	} else {
		data, err := io.ReadAll(c.r.Body)
		if err != nil {
			return nil, at, unread(err)
		}
		for line := range strings.Lines(string(data)) {
			line, _, _ = strings.Cut(line, "#")
			if line = strings.TrimSpace(line); line != "" {
				questions = append(questions, line)
			}
		}
	}
	if len(questions) == 0 || len(questions) > MaxBulk {
		return nil, at, problem(http.StatusUnprocessableEntity, "there have to be 1 to %d questions, one a line", MaxBulk)
	}
	return questions, at, nil
}
