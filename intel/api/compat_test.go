package api_test

import (
	"encoding/csv"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary/intel/accounts"
)

func (w *world) compatGet(t *testing.T, path string) *httptest.ResponseRecorder {
	t.Helper()
	rec := httptest.NewRecorder()
	w.compat.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return rec
}

// TestCompat holds the tables against the columns that sMaSheD had and against each other.
func TestCompat(t *testing.T) {
	w := newWorld(t, accounts.Viewer)
	tables := map[string][]map[string]any{}
	get := func(path string) []map[string]any {
		t.Helper()
		rec := w.compatGet(t, path)
		var rows []map[string]any
		if err := json.Unmarshal(rec.Body.Bytes(), &rows); err != nil || rec.Code != http.StatusOK {
			t.Fatal(path, rec.Code, rec.Body, err)
		}
		return rows
	}
	for _, tt := range []struct {
		name, columns string
		rows          int
	}{
		{"pool", "created_at id name updated_at url", 2},
		{"server", "created_at fqdn id pool_id updated_at", 3},
		{"crypto", "abbreviation created_at id name updated_at url", 2},
		{"port", "created_at crypto_id id number server_id updated_at", 4},
		{"address", "address created_at id server_id updated_at", 3},
		{"miningProp", "address created_at id port protocol reason server_id status updated_at", 1},
	} {
		rows := get("/" + tt.name + "/json?_=1700000000")
		if len(rows) != tt.rows {
			t.Errorf("%d rows of %s: %v", len(rows), tt.name, rows)
		}
		ids := map[any]bool{}
		for _, r := range rows {
			if got := strings.Join(slices.Sorted(maps.Keys(r)), " "); got != tt.columns {
				t.Errorf("%s has %s", tt.name, got)
			}
			if id, ok := r["id"].(float64); !ok || id < 1 || id >= 1<<31 || ids[r["id"]] {
				t.Errorf("%s has id %v", tt.name, r["id"])
			}
			ids[r["id"]] = true
		}
		tables[tt.name] = rows
	}
	for table, refers := range map[string]map[string]string{
		"server": {"pool_id": "pool"}, "port": {"server_id": "server", "crypto_id": "crypto"}, "address": {"server_id": "server"}, "miningProp": {"server_id": "server"},
	} {
		for column, to := range refers {
			for _, r := range tables[table] {
				if !slices.ContainsFunc(tables[to], func(o map[string]any) bool { return o["id"] == r[column] }) {
					t.Errorf("%s of %v is nobody", column, r)
				}
			}
		}
	}
	prop := tables["miningProp"][0]
	id := string(must(json.Marshal(prop["id"])))
	delete(prop, "id")
	delete(prop, "server_id")
	want := map[string]any{
		"address": "9.9.9.1", "port": 3333.0, "protocol": "stratum", "status": 1.0, "reason": "@SUM(1) said a server",
		"created_at": "2026-05-01 09:00:00", "updated_at": "2026-05-01 11:00:00",
	}
	if diff := cmp.Diff(want, prop); diff != "" {
		t.Error(diff)
	}
	one, all := get("/miningProp/"+id+"/json"), get("/miningProp/jsonHistoryAll")
	if diff := cmp.Diff(one, all); diff != "" || len(one) != 2 || one[0]["status"] != 0.0 || one[1]["status"] != 1.0 {
		t.Error(one, diff)
	}
	if got := strings.Join(slices.Sorted(maps.Keys(one[0])), " "); got != "created_at id miningProp_id reason status updated_at" {
		t.Error(got)
	}
	if again := newWorld(t, accounts.Viewer).compatGet(t, "/miningProp/"+id+"/json"); again.Code != http.StatusOK {
		t.Error("the id is another one in another process")
	}
	lines, err := csv.NewReader(w.compatGet(t, "/content").Body).ReadAll()
	if err != nil || len(lines) != 7 {
		t.Fatal(len(lines), err)
	}
	if diff := cmp.Diff(strings.Split("id,address,fqdn,pool_name,url,port_number,crypto_name,abbreviation,url", ","), lines[0]); diff != "" {
		t.Error(diff)
	}
	if i := slices.IndexFunc(lines, func(l []string) bool { return l[1] == "9.9.9.1" && l[5] == "443" }); i < 0 {
		t.Error(lines)
	} else if diff := cmp.Diff(strings.Split("9.9.9.1,eu.alpha.net,Alpha Pool,https://alpha.net/,443,Monero,XMR,https://www.getmonero.org/", ","), lines[i][1:]); diff != "" {
		t.Error(diff)
	}
	for path, want := range map[string]int{
		"/miningProp/0/json": 404, "/miningProp/x/json": 404, "/pool/json?x=1": 400, "/user/json": 404, "/": 404, "/pool": 404,
	} {
		if rec := w.compatGet(t, path); rec.Code != want || rec.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s gives %d", path, rec.Code)
		}
	}
	closed := newWorld(t, "")
	for _, path := range []string{"/pool/json", "/content", "/miningProp/jsonHistoryAll"} {
		if rec := closed.compatGet(t, path); rec.Code != http.StatusUnauthorized {
			t.Errorf("%s without a login gives %d", path, rec.Code)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
