package api

import (
	"bytes"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// column is one of a table: its name in CSV and for sort.
type column[T any] struct {
	name string
	// text is the cell in CSV.
	text func(*T) string
	// key orders rows by its bytes; nil if rows are not sorted by this column.
	key func(*T) string
}

// table says how rows leave.
type table[T any] struct {
	columns []column[T]
	// id is the row's own: it ends every tie. Rows that are equal in it are told apart by their place.
	id func(*T) string
}

// page is a page of a list as JSON.
type page[T any] struct {
	Items []T `json:"items"`
	// Total counts the rows of all pages; nil if nobody counted.
	Total *int `json:"total,omitempty"`
	// Next is the cursor of the next page, "" behind the last.
	Next string `json:"next,omitempty"`
}

// cursor is the last row of a page: its key in the order, and its ID.
type cursor struct {
	Sort string `json:"s"`
	Key  string `json:"k"`
	ID   string `json:"i"`
}

// keyed is a row with its place in an order.
type keyed struct {
	key, id string
	row     int
}

// list answers with a page of rows in the order asked for, as JSON, NDJSON or CSV. A page begins behind the row that its
// cursor names, also if that row is gone.
func list[T any](c *call, t *table[T], rows []T) error {
	limit, err := c.number("limit", DefaultPage, MaxPage)
	if err != nil {
		return err
	}
	by, down, err := t.order(c)
	if err != nil {
		return err
	}
	order := t.keys(rows, by)
	if slices.SortFunc(order, keyed.compare); down {
		slices.Reverse(order)
	}
	from := 0
	if c.has("cursor") {
		last, err := parseCursor(c.query.Get("cursor"))
		if err != nil || last.Sort != c.query.Get("sort") {
			return problem(http.StatusUnprocessableEntity, "the cursor is none of this list and order")
		}
		at := keyed{key: last.Key, id: last.ID}
		from = sort.Search(len(order), func(i int) bool {
			if down {
				return order[i].compare(at) < 0
			}
			return order[i].compare(at) > 0
		})
	}
	total := len(rows)
	p := page[T]{Items: []T{}, Total: &total}
	for _, k := range order[from:min(from+limit, len(order))] {
		p.Items = append(p.Items, rows[k.row])
	}
	if end := from + limit; end < len(order) {
		last := order[end-1]
		if p.Next, err = (cursor{c.query.Get("sort"), last.key, last.id}).text(); err != nil {
			return err
		}
	}
	return sendPage(c, t, &p)
}

// sendPage sends a page as JSON, NDJSON or CSV. Where the next one is stands in the header Link as well (RFC 8288).
func sendPage[T any](c *call, t *table[T], p *page[T]) error {
	format, err := c.accept(typeJSON, typeNDJSON, typeCSV)
	if err != nil {
		return err
	}
	if p.Next != "" {
		query := maps.Clone(c.query)
		query.Set("cursor", p.Next)
		c.w.Header().Set("Link", "<?"+query.Encode()+`>; rel="next"`)
	}
	var b bytes.Buffer
	switch format {
	case typeCSV:
		format = typeCSVHeader
		err = t.csv(&b, p.Items, true)
	case typeNDJSON:
		err = lines(&b, p.Items)
	default:
		err = json.NewEncoder(&b).Encode(p)
	}
	if err != nil {
		return fmt.Errorf("write a list: %w", err)
	}
	return c.send(http.StatusOK, format, b.Bytes())
}

// lines writes rows as NDJSON.
func lines[T any](b *bytes.Buffer, rows []T) error {
	enc := json.NewEncoder(b)
	for i := range rows {
		if err := enc.Encode(&rows[i]); err != nil {
			return err
		}
	}
	return nil
}

// order reads sort: a column's name, or that behind a minus. Without it rows are in the order of their IDs.
func (t *table[T]) order(c *call) (key func(*T) string, down bool, err error) {
	if !c.has("sort") {
		return func(*T) string { return "" }, false, nil
	}
	name, down := strings.CutPrefix(c.query.Get("sort"), "-")
	var names []string
	for _, col := range t.columns {
		if col.key != nil {
			names = append(names, col.name)
			if col.name == name {
				return col.key, down, nil
			}
		}
	}
	return nil, false, problem(http.StatusBadRequest, "sort has to be one of %s, or that behind a minus", strings.Join(names, ", "))
}

// keys gives every row its place. Equal IDs get numbers, so that every row is on one page.
func (t *table[T]) keys(rows []T, key func(*T) string) []keyed {
	order := make([]keyed, len(rows))
	times := make(map[string]int, len(rows))
	for i := range rows {
		id := t.id(&rows[i])
		if times[id]++; times[id] > 1 {
			id += "\x00" + strconv.Itoa(times[id])
		}
		order[i] = keyed{key(&rows[i]), id, i}
	}
	return order
}

func (k keyed) compare(o keyed) int {
	if c := strings.Compare(k.key, o.key); c != 0 {
		return c
	}
	return strings.Compare(k.id, o.id)
}

func (c cursor) text() (string, error) {
	b, err := json.Marshal(c)
	return base64.RawURLEncoding.EncodeToString(b), err
}

func parseCursor(s string) (cursor, error) {
	var c cursor
	if len(s) > MaxCursor {
		return c, fmt.Errorf("a cursor of more than %d bytes", MaxCursor)
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	return c, err
}

// csv writes rows by RFC 4180, after a line of names if header is set.
func (t *table[T]) csv(out io.Writer, rows []T, header bool) error {
	w := csv.NewWriter(out)
	w.UseCRLF = true
	cells := make([]string, len(t.columns))
	if header {
		for i, col := range t.columns {
			cells[i] = col.name
		}
		if err := w.Write(cells); err != nil {
			return err
		}
	}
	for i := range rows {
		for j, col := range t.columns {
			cells[j] = defuse(col.text(&rows[i]))
		}
		if err := w.Write(cells); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}

// defuse puts an apostrophe before a cell that a spreadsheet would take for a formula.
func defuse(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}

// The columns of a table by what they hold.

func words[T any](name string, get func(*T) string) column[T] {
	return column[T]{name, get, func(r *T) string { return strings.ToLower(get(r)) }}
}

func count[T any](name string, get func(*T) int) column[T] {
	return column[T]{name, func(r *T) string { return strconv.Itoa(get(r)) }, func(r *T) string { return fmt.Sprintf("%010d", get(r)) }}
}

func moment[T any](name string, get func(*T) time.Time) column[T] {
	text := func(r *T) string {
		if t := get(r); !t.IsZero() {
			return t.UTC().Format(time.RFC3339)
		}
		return ""
	}
	key := func(r *T) string {
		if t := get(r); !t.IsZero() {
			return t.UTC().Format("2006-01-02T15:04:05.000000000")
		}
		return ""
	}
	return column[T]{name, text, key}
}

func address[T any](name string, get func(*T) netip.Addr) column[T] {
	text := func(r *T) string {
		if a := get(r); a.IsValid() {
			return a.String()
		}
		return ""
	}
	return column[T]{name, text, func(r *T) string { return addressKey(get(r)) }}
}

// addressKey orders IPv4 before IPv6, each by number; none comes first.
func addressKey(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return fmt.Sprintf("%03d%x", a.BitLen(), a.AsSlice())
}

func yes[T any](name string, get func(*T) bool) column[T] {
	text := func(r *T) string { return strconv.FormatBool(get(r)) }
	return column[T]{name, text, text}
}

// several is a column of a list, which is not sorted by.
func several[T any](name string, get func(*T) []string) column[T] {
	return column[T]{name: name, text: func(r *T) string { return strings.Join(get(r), " ") }}
}
