package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/minecanary/minecanary/intel/accounts"
	"github.com/minecanary/minecanary/intel/api"
	"github.com/minecanary/minecanary/intel/catalog"
)

// many makes a layer with pools that are alike in most columns, and rows that are there twice.
func many(pools int) catalog.Layer {
	l := catalog.Layer{Coins: []catalog.Coin{{Symbol: "XMR", Name: "Monero", Algorithm: "randomx", Dialect: "cryptonote"}}}
	for i := range pools {
		p := catalog.Pool{ID: fmt.Sprintf("pool-%d", i), Name: fmt.Sprintf("Pool %d", i%3), Kind: catalog.Kinds()[i%4], Layer: "many"}
		for j := range 2 {
			e := catalog.Endpoint{Port: uint16(3000 + 1000*j + i%2), Coin: "XMR", TLS: i%2 == 0}
			p.Servers = append(p.Servers, catalog.Server{Name: fmt.Sprintf("s%d.p%d.net", j, i%5), Endpoints: []catalog.Endpoint{e, e}})
		}
		l.Pools = append(l.Pools, p)
	}
	return l
}

// TestPaging walks lists in pages of every size and order: every row is there once, in the order asked for.
func TestPaging(t *testing.T) {
	w := newWorld(t, accounts.Viewer, many(23))
	type page struct {
		Items []map[string]any
		Total int
		Next  string
	}
	get := func(path string, query url.Values) (page, *reply) {
		t.Helper()
		res := w.do(t, request{method: "GET", path: api.Prefix + path + "?" + query.Encode(), role: accounts.Admin})
		var p page
		if err := json.Unmarshal([]byte(res.body), &p); err != nil || res.StatusCode != http.StatusOK {
			t.Fatal(err, res.body)
		}
		return p, res
	}
	rapid.Check(t, func(rt *rapid.T) {
		path := rapid.SampledFrom([]string{"/pools", "/servers", "/endpoints", "/coins", "/ports", "/tokens"}).Draw(rt, "path")
		query := url.Values{"limit": {strconv.Itoa(rapid.SampledFrom([]int{1, 2, 7, 20, 1000}).Draw(rt, "limit"))}}
		column := rapid.SampledFrom(append([]string{""}, api.Lists()[path]...)).Draw(rt, "column")
		down := rapid.Bool().Draw(rt, "down")
		if column != "" {
			query.Set("sort", map[bool]string{true: "-"}[down]+column)
		}
		whole, _ := get(path, url.Values{"limit": {"1000"}})
		var got []map[string]any
		for {
			p, res := get(path, query)
			if got = append(got, p.Items...); p.Total != len(whole.Items) {
				rt.Fatalf("total %d, want %d", p.Total, len(whole.Items))
			}
			if link := res.Header.Get("Link"); (link != "") != (p.Next != "") || link != "" && !strings.Contains(link, "cursor="+p.Next) {
				rt.Fatalf("link %q for %q", link, p.Next)
			}
			if p.Next == "" {
				break
			}
			query.Set("cursor", p.Next)
		}
		if column != "" {
			key := func(m map[string]any) string {
				if n, ok := m[column].(float64); ok {
					return fmt.Sprintf("%010.0f", n)
				}
				if m[column] == nil {
					return ""
				}
				return strings.ToLower(fmt.Sprint(m[column]))
			}
			if !slices.IsSortedFunc(got, func(a, b map[string]any) int {
				if down {
					a, b = b, a
				}
				return strings.Compare(key(a), key(b))
			}) {
				rt.Fatalf("%s is not in the order of %s", path, query.Get("sort"))
			}
		}
		count := func(rows []map[string]any) map[string]int {
			n := map[string]int{}
			for _, r := range rows {
				b, err := json.Marshal(r)
				if err != nil {
					rt.Fatal(err)
				}
				n[string(b)]++
			}
			return n
		}
		if diff := cmp.Diff(count(whole.Items), count(got)); diff != "" {
			rt.Fatal(diff)
		}
	})
	// A cursor holds where its row is gone.
	first, _ := get("/pools", url.Values{"limit": {"3"}})
	gone := first.Items[2]["id"].(string)
	if res := w.do(t, request{method: "DELETE", path: "/api/v1/pools/" + gone, role: accounts.Analyst}); res.StatusCode != http.StatusNoContent {
		t.Fatal(res.StatusCode)
	}
	rest, _ := get("/pools", url.Values{"limit": {"1000"}, "cursor": {first.Next}})
	if len(rest.Items) != 20 {
		t.Errorf("%d pools behind %s, which is gone, want 20", len(rest.Items), gone)
	}
	other := w.do(t, request{method: "GET", path: "/api/v1/pools?sort=name&cursor=" + first.Next})
	if other.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("a cursor of another order gives %d", other.StatusCode)
	}
}
