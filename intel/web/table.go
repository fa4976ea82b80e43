package web

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/minecanary/minecanary/intel/catalog"
)

// Bounds of tables.
const (
	// pageRows is how many rows a page has, maxRows how many rows a table may have in all.
	pageRows = 50
	maxRows  = 200_000
	// maxLinks is how many links a cell shows, maxOptions how many choices a filter has.
	maxLinks   = 6
	maxOptions = 500
)

type link struct{ Text, Href string }

// cell is one of a table. One of its fields is what it shows.
type cell struct {
	Text string
	// Href is a page of ours.
	Href string
	// Hostile is text of others: cut, with a way to unfold.
	Hostile string
	// Tight tells that little of it stands in the line.
	Tight bool
	Time  time.Time
	// Status is a verdict or the status of a hit.
	Status string
	Links  []link
	// More is how many links are not shown.
	More int
}

// text is the cell in CSV, and what filters look at.
func (c cell) text() string {
	switch {
	case !c.Time.IsZero():
		return c.Time.UTC().Format(time.RFC3339)
	case len(c.Links) > 0:
		words := make([]string, len(c.Links))
		for i, l := range c.Links {
			words[i] = l.Text
		}
		return strings.Join(words, " ")
	}
	return cmp.Or(c.Status, c.Hostile, c.Text)
}

func many(links []link) cell { return cell{Links: links} }

func yes(b bool) cell {
	if b {
		return cell{Text: "yes"}
	}
	return cell{Text: "no"}
}

func number(n int) cell { return cell{Text: strconv.Itoa(n)} }

// column is one of a table: its word in addresses and CSV, and its heading.
type column[T any] struct {
	key, label string
	cell       func(*T) cell
	// compare orders rows; nil if rows are not sorted by this column.
	compare func(a, b *T) int
	// filter makes a choice of the column's values.
	filter bool
	// number tells that the cells are numbers.
	number bool
}

// by makes the order of a column.
func by[T any, K cmp.Ordered](get func(*T) K) func(a, b *T) int {
	return func(a, b *T) int { return cmp.Compare(get(a), get(b)) }
}

func byWord[T any](get func(*T) string) func(a, b *T) int {
	return func(a, b *T) int { return cmp.Compare(strings.ToLower(get(a)), strings.ToLower(get(b))) }
}

func byTime[T any](get func(*T) time.Time) func(a, b *T) int {
	return func(a, b *T) int { return get(a).Compare(get(b)) }
}

func byAddress[T any](get func(*T) netip.Addr) func(a, b *T) int {
	return func(a, b *T) int { return get(a).Compare(get(b)) }
}

type head struct {
	Key, Label string
	// Href sorts by the column, "" if nothing does.
	Href string
	// Sort is ascending or descending if rows are in that order, else none; it is for aria-sort.
	Sort   string
	Number bool
}

type choice struct {
	Key, Label, Value string
	Options           []string
}

// table is a table on a page.
type table struct {
	// Caption says what it is.
	Caption string
	// Empty says what to do if there are no rows.
	Empty string
	Path  string
	// Find is what rows are searched for, Kept what else the address has.
	Find    string
	Kept    []choice
	Choices []choice
	// Filters tells that there is a form above the table.
	Filters bool
	Heads   []head
	Rows    [][]cell
	// Total counts the rows that fit, First and Last are those shown, from 1.
	Total, First, Last int
	Prev, Next         string
	// Export is the address of all rows as CSV, API that of the same in the API.
	Export, API string
	// Cut tells that there are more rows than a table may have.
	Cut bool
}

// number reads a parameter from 1 on; 1 if it is none.
func pageNumber(q url.Values) int {
	n, err := strconv.Atoi(q.Get("page"))
	if err != nil {
		return 1
	}
	return min(max(n, 1), maxRows)
}

// plainTable makes a table of all rows without anything to choose.
func plainTable[T any](caption, empty string, columns []column[T], rows []T) table {
	t := table{Caption: caption, Empty: empty, Total: len(rows), First: min(len(rows), 1), Last: len(rows)}
	for _, col := range columns {
		t.Heads = append(t.Heads, head{Key: col.key, Label: col.label, Number: col.number})
	}
	all := make([]*T, len(rows))
	for i := range rows {
		all[i] = &rows[i]
	}
	t.fill(cells(columns, all))
	return t
}

func cells[T any](columns []column[T], rows []*T) [][]cell {
	out := make([][]cell, len(rows))
	for i, r := range rows {
		for _, col := range columns {
			out[i] = append(out[i], col.cell(r))
		}
	}
	return out
}

// fill takes the rows that are shown.
func (t *table) fill(rows [][]cell) {
	for _, r := range rows {
		for i := range r {
			r[i] = r[i].bounded()
		}
	}
	t.Rows = rows
}

// bounded gives a cell with no more text and links than it has room for.
func (c cell) bounded() cell {
	if n := len(c.Links); n > maxLinks {
		c.Links, c.More = c.Links[:maxLinks], n-maxLinks
	}
	links := slices.Clone(c.Links)
	for i := range links {
		links[i].Text = brief(links[i].Text)
	}
	c.Links, c.Text, c.Status = links, brief(c.Text), brief(c.Status)
	return c
}

// tabulate makes a table of the rows that fit what the address asks for: find (a text in any cell), the columns with a
// filter, sort (a column, or that behind a minus), page, and kept, which others understand. Where the address has
// format=csv it sends all of them as CSV, and sent is true.
func tabulate[T any](c *call, t table, columns []column[T], rows []T, kept ...string) (out table, sent bool, err error) {
	q := c.r.URL.Query()
	t.Path, t.Find, t.Filters = c.r.URL.Path, q.Get("find"), true
	if len(rows) > maxRows {
		rows, t.Cut = rows[:maxRows], true
	}
	stay := url.Values{}
	for _, k := range append([]string{"find"}, kept...) {
		if v := q.Get(k); v != "" {
			stay.Set(k, v)
			if k != "find" {
				t.Kept = append(t.Kept, choice{Key: k, Value: v})
			}
		}
	}
	fit := make([]*T, len(rows)) // rows are large
	for i := range rows {
		fit[i] = &rows[i]
	}
	for _, col := range columns {
		if !col.filter {
			continue
		}
		ch := choice{Key: col.key, Label: col.label, Value: q.Get(col.key)}
		options := map[string]bool{}
		for i := range rows {
			if text := col.cell(&rows[i]).text(); text != "" && len(text) <= catalog.MaxText {
				options[text] = true
			}
		}
		if ch.Options = slices.Sorted(maps.Keys(options)); len(ch.Options) > maxOptions {
			ch.Options = ch.Options[:maxOptions]
		}
		t.Choices = append(t.Choices, ch)
	}
	for _, ch := range t.Choices {
		if ch.Value == "" {
			continue
		}
		stay.Set(ch.Key, ch.Value)
		i := slices.IndexFunc(columns, func(col column[T]) bool { return col.key == ch.Key })
		fit = slices.DeleteFunc(fit, func(r *T) bool { return columns[i].cell(r).text() != ch.Value })
	}
	if want := strings.ToLower(t.Find); want != "" {
		fit = slices.DeleteFunc(fit, func(r *T) bool {
			return !slices.ContainsFunc(columns, func(col column[T]) bool {
				return strings.Contains(strings.ToLower(col.cell(r).text()), want)
			})
		})
	}
	name, down := strings.CutPrefix(q.Get("sort"), "-")
	at := func(page int, sort, format string) string {
		v := maps.Clone(stay)
		if sort != "" {
			v.Set("sort", sort)
		}
		if page > 1 {
			v.Set("page", strconv.Itoa(page))
		}
		if format != "" {
			v.Set("format", format)
		}
		if len(v) == 0 {
			return t.Path
		}
		return t.Path + "?" + v.Encode()
	}
	sorted := ""
	for _, col := range columns {
		h := head{Key: col.key, Label: col.label, Number: col.number, Sort: "none"}
		if col.compare == nil {
			h.Sort = ""
		} else if h.Href = at(1, col.key, ""); col.key == name {
			h.Sort, sorted = "ascending", q.Get("sort")
			slices.SortStableFunc(fit, col.compare)
			if down {
				h.Sort = "descending"
				slices.Reverse(fit)
			} else {
				h.Href = at(1, "-"+col.key, "")
			}
		}
		t.Heads = append(t.Heads, h)
	}
	if sorted != "" {
		t.Kept = append(t.Kept, choice{Key: "sort", Value: sorted})
	}
	if q.Get("format") == "csv" {
		return t, true, c.csv(t.Heads, cells(columns, fit))
	}
	t.Export = at(1, sorted, "csv")
	if !c.cfg.API {
		t.API = ""
	}
	t.Total = len(fit)
	page := min(pageNumber(q), max(1, (len(fit)+pageRows-1)/pageRows))
	from, to := (page-1)*pageRows, min(page*pageRows, len(fit))
	if t.Last = to; to > 0 {
		t.First = from + 1
	}
	if page > 1 {
		t.Prev = at(page-1, sorted, "")
	}
	if to < len(fit) {
		t.Next = at(page+1, sorted, "")
	}
	t.fill(cells(columns, fit[from:to]))
	return t, false, nil
}

// csv sends rows by RFC 4180. A cell that a spreadsheet would take for a formula gets an apostrophe; what could break out
// of a line or a terminal stands as its escape.
func (c *call) csv(heads []head, rows [][]cell) error {
	h := c.w.Header()
	h.Set("Content-Type", "text/csv; charset=utf-8; header=present")
	name := strings.Trim(strings.ReplaceAll(c.r.URL.Path, "/", "-"), "-")
	h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", "minecanary-"+cmp.Or(name, "search")+".csv"))
	w := csv.NewWriter(c.w)
	w.UseCRLF = true
	line := make([]string, len(heads))
	for i, hd := range heads {
		line[i] = hd.Key
	}
	err := w.Write(line)
	for _, r := range rows {
		for i, cl := range r {
			line[i] = visible(cl.text(), maxText)
			if first := strings.TrimLeft(line[i], " \u00a0"); first != "" && strings.ContainsRune("=+-@", rune(first[0])) {
				line[i] = "'" + line[i]
			}
		}
		if err == nil {
			err = w.Write(line)
		}
	}
	w.Flush()
	_ = err // who has gone does not need it; nothing else fails
	return nil
}
