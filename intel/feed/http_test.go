package feed_test

import (
	"encoding/csv"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/feed"
)

// answer is what a handler sent.
type answer struct {
	StatusCode int
	Header     http.Header
	body       string
}

// ask sends a request to a handler; the headers are pairs of name and value.
func ask(tb testing.TB, h http.Handler, method, target string, headers ...string) answer {
	tb.Helper()
	r := httptest.NewRequestWithContext(tb.Context(), method, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Header().Get("X-Content-Type-Options") != "nosniff" {
		tb.Errorf("%s %s may be sniffed", method, target)
	}
	return answer{w.Code, w.Header(), w.Body.String()}
}

func TestHandlerFiles(t *testing.T) {
	dir := t.TempDir()
	c := &clock{t: now}
	p := newPublisher(t, dir, c, func(cfg *feed.Config) { cfg.Formats = feed.AllFormats() })
	h := p.Handler()
	publish(t, p, pools(t, c, 0, 3)...)

	res := ask(t, h, http.MethodGet, "/feeds/")
	var index feed.Index
	if err := json.Unmarshal([]byte(res.body), &index); err != nil {
		t.Fatal(err)
	}
	if index.Generation != first || index.Published != 3 || index.Waiting || !index.Written.Equal(now) || len(index.Formats) != len(feed.AllFormats()) {
		t.Errorf("%+v", index)
	}
	types := map[string]string{}
	for _, form := range index.Formats {
		for _, f := range form.Files {
			res := ask(t, h, http.MethodGet, f.Path)
			text := res.body
			name := strings.TrimPrefix(f.Path, feed.PathPrefix)
			if res.StatusCode != http.StatusOK || text != read(t, dir, name) || hashOf(text) != f.SHA256 || int64(len(text)) != f.Size {
				t.Errorf("%s: %d, %d bytes", f.Path, res.StatusCode, len(text))
			}
			if f.Delta != (form.Format == feed.JSON || form.Format == feed.CSV) {
				t.Errorf("%s: delta %t", f.Path, f.Delta)
			}
			types[name] = res.Header.Get("Content-Type")
			etag := res.Header.Get("ETag")
			if etag != `"`+f.SHA256+`"` || res.Header.Get("Cache-Control") != "no-cache" || res.Header.Get("Last-Modified") == "" || res.Header.Get(feed.GenerationHeader) != strconv.FormatUint(first, 10) {
				t.Errorf("%s: %v", f.Path, res.Header)
			}
			for _, cond := range []string{etag, `"x", ` + etag, "*", "W/" + etag} {
				if res := ask(t, h, http.MethodGet, f.Path, "If-None-Match", cond); res.StatusCode != http.StatusNotModified || res.body != "" {
					t.Errorf("%s with %s: %d", f.Path, cond, res.StatusCode)
				}
			}
			if res := ask(t, h, http.MethodGet, f.Path, "If-None-Match", `"x"`); res.StatusCode != http.StatusOK {
				t.Errorf("%s with another tag: %d", f.Path, res.StatusCode)
			}
			if res := ask(t, h, http.MethodHead, f.Path); res.StatusCode != http.StatusOK || res.body != "" || res.Header.Get("Content-Length") != strconv.Itoa(len(text)) {
				t.Errorf("HEAD %s: %d, %v", f.Path, res.StatusCode, res.Header)
			}
		}
	}
	for name, want := range map[string]string{
		"intel.dat": "text/plain; charset=utf-8", "pools.csv": "text/csv; charset=utf-8", "pools.json": "application/json",
		"stix.json": "application/stix+json;version=2.1", "manifest.json": "application/json", "rpz.zone": "text/plain; charset=utf-8",
	} {
		if types[name] != want {
			t.Errorf("%s is %q", name, types[name])
		}
	}
	if got := ask(t, h, http.MethodGet, "/feeds/"+feed.SumsFile).body; got != read(t, dir, feed.SumsFile) {
		t.Error("other checksums")
	}

	// The heartbeat moves the time, the tag stays; new content has a new tag.
	tag := func() string { return ask(t, h, http.MethodHead, "/feeds/pools.dat").Header.Get("ETag") }
	before := tag()
	rewrite(t, p)
	if got := tag(); got != before {
		t.Errorf("the tag went from %s to %s", before, got)
	}
	publish(t, p, pools(t, c, 0, 4)...)
	if got := tag(); got == before {
		t.Error("the tag stays")
	}

	for path, want := range map[string]int{
		"/feeds/nothing":                               404,
		"/feeds":                                       404,
		"/":                                            404,
		"/feeds/" + feed.StateFile:                     404,
		"/feeds/" + feed.StatusFile:                    404,
		"/feeds/../feeds/pools.dat":                    404,
		"/feeds/%2e%2e%2fpasswd":                       404,
		"/feeds/pools.dat/":                            404,
		"/feeds/pools.dat.prev":                        404,
		"/feeds/pools.dat?since=1":                     400,
		"/feeds/pools.json?since=":                     400,
		"/feeds/pools.json?since=-1":                   400,
		"/feeds/pools.json?since=x":                    400,
		"/feeds/pools.json?since=1&since=2":            400,
		"/feeds/nothing?since=1":                       404,
		"/feeds/pools.json?since=99":                   410,
		"/feeds/pools.json?since=18446744073709551616": 400,
	} {
		res := ask(t, h, http.MethodGet, path)
		if res.StatusCode != want || res.Header.Get("Content-Type") != "application/problem+json" || !json.Valid([]byte(res.body)) {
			t.Errorf("%s: %d, want %d", path, res.StatusCode, want)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodDelete, http.MethodOptions} {
		if res := ask(t, h, method, "/feeds/pools.dat"); res.StatusCode != 405 || res.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d", method, res.StatusCode)
		}
	}

	// A file that somebody put in the place of ours is not sent as ours.
	if err := os.Remove(filepath.Join(dir, "pools.csv")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "pools.csv"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if res := ask(t, h, http.MethodGet, "/feeds/pools.csv"); res.StatusCode != 404 {
		t.Errorf("%d", res.StatusCode)
	}
}

func TestHandlerAfterRestart(t *testing.T) {
	dir := t.TempDir()
	c := &clock{t: now}
	formats := func(cfg *feed.Config) { cfg.Formats = []feed.Format{feed.JSON} }
	publish(t, newPublisher(t, dir, c, formats), pools(t, c, 0, 3)...)
	p := newPublisher(t, dir, c, formats)
	rewrite(t, p)
	h := p.Handler()
	if res := ask(t, h, http.MethodGet, "/feeds/pools.json"); res.body != read(t, dir, "pools.json") || res.Header.Get("ETag") == "" {
		t.Errorf("%d", res.StatusCode)
	}
	if res := ask(t, h, http.MethodGet, "/feeds/pools.json?since=0"); res.StatusCode != 503 || res.Header.Get("Retry-After") != "60" {
		t.Errorf("%d, %v", res.StatusCode, res.Header)
	}
	var index feed.Index
	if err := json.Unmarshal([]byte(ask(t, h, http.MethodGet, "/feeds/").body), &index); err != nil || !index.Waiting || index.Published != 3 || !index.Written.Equal(now) {
		t.Errorf("%+v, %v", index, err)
	}
}

// consumer keeps what a reader of deltas has: rows by what the form shows of them.
type consumer struct {
	generation uint64
	rows       map[string]bool
}

// follow asks for the changes and takes them; it is false if it has to fetch everything.
func (x *consumer) follow(tb testing.TB, h http.Handler, asCSV bool) bool {
	tb.Helper()
	path := "/feeds/pools.json"
	if asCSV {
		path = "/feeds/pools.csv"
	}
	res := ask(tb, h, http.MethodGet, path+"?since="+strconv.FormatUint(x.generation, 10))
	text := res.body
	if res.StatusCode == http.StatusGone {
		return false
	}
	if res.StatusCode != http.StatusOK || !strings.HasPrefix(res.Header.Get("ETag"), `"`) {
		tb.Fatalf("%d: %s", res.StatusCode, text)
	}
	type row struct {
		Address, Name string
		Port          int
	}
	key := func(r row) string { return r.Address + r.Name + ":" + strconv.Itoa(r.Port) }
	var doc struct {
		Since, Generation uint64
		Added, Removed    []row
	}
	if asCSV {
		all, err := csv.NewReader(strings.NewReader(text)).ReadAll()
		if err != nil || len(all) == 0 || all[0][0] != "change" || all[0][1] != "address" {
			tb.Fatalf("%v: %q", err, text)
		}
		for _, cells := range all[1:] {
			port, err := strconv.Atoi(cells[2])
			if err != nil {
				tb.Fatal(err)
			}
			r := row{cells[1], cells[4], port}
			switch cells[0] {
			case "added":
				doc.Added = append(doc.Added, r)
			case "removed":
				doc.Removed = append(doc.Removed, r)
			default:
				tb.Fatalf("%q", cells)
			}
		}
		if doc.Generation, err = strconv.ParseUint(res.Header.Get(feed.GenerationHeader), 10, 64); err != nil {
			tb.Fatal(err)
		}
	} else if err := json.Unmarshal([]byte(text), &doc); err != nil || doc.Since != x.generation {
		tb.Fatalf("%v: %s", err, text)
	}
	for _, r := range doc.Removed {
		delete(x.rows, key(r))
	}
	for _, r := range doc.Added {
		x.rows[key(r)] = true
	}
	x.generation = doc.Generation
	return true
}

// TestDelta has readers that follow the changes, each at its pace, and end with what the whole feed has. Endpoints come,
// go, return, take names and lose them.
func TestDelta(t *testing.T) {
	t.Parallel() // it waits for the disk most of the time
	dir := t.TempDir()
	c := &clock{t: now}
	onCDN := map[netip.Addr]bool{}
	p := newPublisher(t, dir, c, func(cfg *feed.Config) {
		cfg.MaxNew, cfg.MaxChange, cfg.Formats = -1, -1, []feed.Format{feed.JSON, feed.CSV}
		cfg.Gate.Mark = func(addr netip.Addr) (string, string) {
			if onCDN[addr] {
				return "cdn", ""
			}
			return "", ""
		}
		// Two addresses have the same name.
		cfg.Gate.Name = func(ep minecanary.Endpoint) string {
			return "pool" + strconv.Itoa(int(ep.Addr.As4()[3]/2)) + ".example.com"
		}
	})
	p.NoSync()
	h := p.Handler()
	readers := map[int]*consumer{}
	for every := range 5 {
		readers[every+1] = &consumer{rows: map[string]bool{}}
	}
	var generations []uint64
	base := pools(t, c, 0, 1)[0]
	for i := range 200 {
		c.advance(20 * time.Minute)
		var verdicts []minecanary.Verdict
		for j := range 12 {
			addr := netip.AddrFrom4([4]byte{198, 51, 100, byte(j)})
			// A pattern that repeats late: who is there, and who is behind the CDN.
			onCDN[addr] = (i/7+j)%5 == 0
			if (i*(j+3)/4)%3 != 0 {
				v := base
				v.Endpoint.Addr, v.At, v.Expires = addr, c.now(), c.now().Add(24*time.Hour)
				verdicts = append(verdicts, v)
			}
		}
		generations = append(generations, publish(t, p, verdicts...).Generation)
		var whole struct {
			Entries []struct {
				Address, Name string
				Port          int
			}
		}
		res := ask(t, h, http.MethodGet, "/feeds/pools.json")
		if err := json.Unmarshal([]byte(res.body), &whole); err != nil {
			t.Fatal(err)
		}
		want := []string{}
		for _, e := range whole.Entries {
			want = append(want, e.Address+e.Name+":"+strconv.Itoa(e.Port))
		}
		slices.Sort(want)
		for every, x := range readers {
			if i%every != 0 {
				continue
			}
			if !x.follow(t, h, every%2 == 0) {
				x.rows = map[string]bool{}
				for _, key := range want {
					x.rows[key] = true
				}
				var err error
				if x.generation, err = strconv.ParseUint(res.Header.Get(feed.GenerationHeader), 10, 64); err != nil {
					t.Fatal(err)
				}
				continue
			}
			got := slices.Sorted(maps.Keys(x.rows))
			if diff := cmp.Diff(want, append([]string{}, got...)); diff != "" {
				t.Fatalf("step %d, reader of every %d: %s", i, every, diff)
			}
		}
	}
	if taken := generations[len(generations)-1] - generations[0]; taken < 30 {
		t.Errorf("%d generations", taken)
	}
	if res := ask(t, h, http.MethodGet, "/feeds/pools.json?since="+strconv.FormatUint(generations[0], 10)); res.StatusCode != http.StatusGone {
		t.Errorf("the first generation is still known: %d", res.StatusCode)
	}
}

// blockFile makes the next change of a file fail, until the function is called: root may write everywhere, so modes cannot.
func blockFile(t *testing.T, dir, name string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, name+feed.PrevSuffix)
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// endpointsOf gives address and port of the entries in a list of a JSON answer.
func endpointsOf(t *testing.T, body, list string) []string {
	t.Helper()
	var doc map[string]json.RawMessage
	var entries []struct {
		Address string
		Port    int
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(doc[list], &entries); err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, e := range entries {
		out = append(out, e.Address+":"+strconv.Itoa(e.Port))
	}
	return out
}

// TestDeltaNeverLoses has the book run ahead of the files, in one run, over a stop, and has it lost: whoever follows the
// changes has everything in the end, or is told to fetch the whole.
func TestDeltaNeverLoses(t *testing.T) {
	onlyJSON := func(cfg *feed.Config) { cfg.Formats = []feed.Format{feed.JSON} }
	start := func(t *testing.T) (string, *clock, *feed.Publisher) {
		t.Helper()
		dir, c := t.TempDir(), &clock{t: now}
		p := newPublisher(t, dir, c, onlyJSON)
		publish(t, p, pools(t, c, 0, 1)...)
		return dir, c, p
	}
	since := func(t *testing.T, p *feed.Publisher, generation string) answer {
		t.Helper()
		return ask(t, p.Handler(), http.MethodGet, "/feeds/pools.json?since="+generation)
	}
	whole := func(t *testing.T, p *feed.Publisher) (generation string, entries []string) {
		t.Helper()
		res := ask(t, p.Handler(), http.MethodGet, "/feeds/pools.json")
		return res.Header.Get(feed.GenerationHeader), endpointsOf(t, res.body, "entries")
	}
	second := []string{"198.51.100.0:1001"}

	t.Run("a file cannot be written", func(t *testing.T) {
		dir, c, p := start(t)
		has, _ := whole(t, p)
		free := blockFile(t, dir, "pools.json")
		c.advance(time.Minute)
		if _, err := p.Publish(t.Context(), pools(t, c, 0, 2)); err == nil {
			t.Fatal("no error")
		}
		if res := since(t, p, has); res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
			t.Errorf("%d: %s", res.StatusCode, res.body)
		}
		if got, entries := whole(t, p); got != has || len(entries) != 1 {
			t.Errorf("generation %s has %q", got, entries)
		}
		free()
		rewrite(t, p)
		if diff := cmp.Diff(second, endpointsOf(t, since(t, p, has).body, "added")); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("a stop between the state and the files", func(t *testing.T) {
		dir, c, p := start(t)
		free := blockFile(t, dir, "pools.json")
		c.advance(time.Minute)
		if _, err := p.Publish(t.Context(), pools(t, c, 0, 2)); err == nil {
			t.Fatal("no error")
		}
		free()
		p = newPublisher(t, dir, c, onlyJSON)
		rewrite(t, p)
		has, entries := whole(t, p)
		if len(entries) != 1 {
			t.Fatalf("%q", entries)
		}
		publish(t, p, pools(t, c, 0, 2)...)
		if diff := cmp.Diff(second, endpointsOf(t, since(t, p, has).body, "added")); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("a file is missing at the start", func(t *testing.T) {
		dir, c, _ := start(t)
		if err := os.Remove(filepath.Join(dir, "pools.json")); err != nil {
			t.Fatal(err)
		}
		p := newPublisher(t, dir, c, onlyJSON)
		rewrite(t, p)
		has, entries := whole(t, p)
		if len(entries) != 0 {
			t.Fatalf("%q", entries)
		}
		publish(t, p, pools(t, c, 0, 1)...)
		if res := since(t, p, has); res.StatusCode != http.StatusGone {
			t.Errorf("%d: %s", res.StatusCode, res.body)
		}
	})
	for name, spoil := range map[string]func(t *testing.T, dir, old string){
		"a bad state": func(t *testing.T, dir, _ string) {
			t.Helper()
			if err := os.WriteFile(filepath.Join(dir, feed.StateFile), []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"no state": func(t *testing.T, dir, _ string) {
			t.Helper()
			if err := os.Remove(filepath.Join(dir, feed.StateFile)); err != nil {
				t.Fatal(err)
			}
		},
		"an old state": func(t *testing.T, dir, old string) {
			t.Helper()
			if err := os.WriteFile(filepath.Join(dir, feed.StateFile), []byte(old), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"nothing is left": func(t *testing.T, dir, _ string) {
			t.Helper()
			for _, name := range []string{feed.StateFile, feed.StatusFile, feed.SumsFile, "pools.json"} {
				if err := os.Remove(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, c, p := start(t)
			old := read(t, dir, feed.StateFile)
			publish(t, p, pools(t, c, 0, 2)...)
			has, _ := whole(t, p)
			c.advance(time.Minute)
			spoil(t, dir, old)
			p = newPublisher(t, dir, c, onlyJSON)
			for from := range 5 { // as many generations as there were, and more
				publish(t, p, pools(t, c, from, 2)...)
				if res := since(t, p, has); res.StatusCode != http.StatusGone {
					t.Errorf("%d: %s", res.StatusCode, res.body)
				}
			}
		})
	}
}

// TestHandlerWhilePublishing has every file that is read match its tag.
func TestHandlerWhilePublishing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := &clock{t: now}
	p := newPublisher(t, dir, c, func(cfg *feed.Config) { cfg.MaxNew, cfg.MaxChange = -1, -1 })
	publish(t, p, pools(t, c, 0, 1)...)
	h := p.Handler()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 100 {
			if _, err := p.Publish(t.Context(), pools(t, c, 0, 1+i%40)); err != nil {
				t.Error(err)
			}
		}
	}()
	tags := map[string]bool{}
	for {
		res := ask(t, h, http.MethodGet, "/feeds/pools.dat")
		text, tag := res.body, res.Header.Get("ETag")
		if tag != `"`+hashOf(text)+`"` {
			t.Errorf("%d: %q has the tag %s", res.StatusCode, text, tag)
		}
		tags[tag] = true
		select {
		case <-done:
			t.Logf("%d generations seen", len(tags))
			return
		case <-time.After(time.Millisecond):
		}
	}
}
