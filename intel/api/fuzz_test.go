package api_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/minecanary/minecanary/intel/accounts"
	"github.com/minecanary/minecanary/intel/api"
)

// FuzzAPI wants that no request is a failure of ours, that every refusal is a problem, and that every answer is as
// described.
func FuzzAPI(f *testing.F) {
	for _, op := range api.Operations() {
		f.Add(op.Method, api.Prefix+place(op.Path), strings.Join(op.Query, "=1&")+"=1", "application/json", "*/*", []byte(gamma))
	}
	f.Add("POST", "/api/v1/lookup", "at=2026-05-01T08:00:00Z", "application/json", "text/csv", []byte(`{"queries":["9.9.9.1","\u0000"],"at":"2026-05-01T08:00:00Z"}`))
	f.Add("POST", "/api/v1/lookup", "limit=1", "text/plain", "application/x-ndjson", []byte("a\n\xff\n.net"))
	f.Add("POST", "/api/v1/import", "format=twice&strict=true", "application/yaml", "", []byte(rows))
	f.Add("PUT", "/api/v1/coins/NEW", "", "application/json", "", []byte(`{"name":"New","algorithm":"x","dialect":"grin","explorer":{"block":"https://a.net/"}}`))
	f.Add("POST", "/api/v1/tokens", "", "application/json", "", []byte(`{"name":"x","role":"viewer","expires":"2999-01-01T00:00:00Z"}`))
	f.Add("PUT", "/api/v1/holds/9.9.9.1/3333", "", "application/json", "", []byte(`{"reason":"x","until":"2999-01-01T00:00:00+23:59"}`))
	f.Add("POST", "/api/v1/probe", "", "application/json", "", []byte(`{"endpoints":["9.9.9.1:443"]}`))
	f.Add("GET", "/miningProp/jsonHistoryAll", "", "", "", []byte{})
	w := newWorld(f, accounts.Viewer)
	f.Fuzz(func(t *testing.T, method, path, query, contentType, accept string, body []byte) {
		if !strings.HasPrefix(path, "/") || strings.ContainsAny(method, " \t\r\n\x00") || method == "" {
			return
		}
		u := &url.URL{Scheme: "http", Host: "localhost", Path: path, RawQuery: query}
		if _, err := url.ParseRequestURI(u.RequestURI()); err != nil {
			return
		}
		r, err := http.NewRequestWithContext(t.Context(), method, u.String(), strings.NewReader(string(body)))
		if err != nil {
			return
		}
		r.URL.Scheme, r.URL.Host = "", "" // as a server sees it
		r.Header.Set("Content-Type", contentType)
		r.Header.Set("Accept", accept)
		r.Header.Set("Authorization", "Bearer "+w.tokens[accounts.Admin])
		handler := w.handler
		if !strings.HasPrefix(path, api.Prefix) {
			handler = w.compat
		}
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, r)
		res := replied(rec)
		if res.StatusCode >= 500 {
			t.Fatalf("%s %s gives %d %s", method, u, res.StatusCode, rec.Body)
		}
		var p api.Problem
		switch {
		case res.StatusCode >= 400 && method != http.MethodHead:
			if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil || p.Status != res.StatusCode || p.Title == "" || res.Header.Get("Content-Type") != "application/problem+json" {
				t.Fatalf("%s %s gives %d %s", method, u, res.StatusCode, rec.Body)
			}
		case res.StatusCode >= 300 && res.StatusCode != http.StatusNotModified:
			t.Fatalf("%s %s leads elsewhere: %d", method, u, res.StatusCode)
		}
		if strings.HasPrefix(path, api.Prefix) {
			w.check.response(t, r, res)
		}
	})
}
