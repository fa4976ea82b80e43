package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The forms in which an answer can leave.
const (
	typeJSON   = "application/json"
	typeNDJSON = "application/x-ndjson"
	typeCSV    = "text/csv"
	typeYAML   = "application/yaml"
	typeText   = "text/plain"

	typeCSVHeader = typeCSV + "; charset=utf-8; header=present"
)

// accept chooses among the offered media types, by RFC 9110 section 12.5.1; the first of equals.
func (c *call) accept(offered ...string) (string, error) {
	header := strings.Join(c.r.Header.Values("Accept"), ",")
	if strings.TrimSpace(header) == "" {
		return offered[0], nil
	}
	best, bestQ := "", 0.0
	for _, o := range offered {
		q, specific := 0.0, -1
		for part := range strings.SplitSeq(header, ",") {
			name, params, _ := strings.Cut(strings.ToLower(part), ";")
			name = strings.TrimSpace(name)
			major, _, _ := strings.Cut(o, "/")
			s := -1
			switch name {
			case o:
				s = 2
			case major + "/*":
				s = 1
			case "*/*":
				s = 0
			}
			if s > specific {
				specific, q = s, quality(params)
			}
		}
		if q > bestQ {
			best, bestQ = o, q
		}
	}
	if best == "" {
		return "", problem(http.StatusNotAcceptable, "this comes as %s", strings.Join(offered, ", "))
	}
	return best, nil
}

// quality is the weight among the parameters of a media range.
func quality(params string) float64 {
	for p := range strings.SplitSeq(params, ";") {
		if v, ok := strings.CutPrefix(strings.TrimSpace(p), "q="); ok {
			q, err := strconv.ParseFloat(v, 64)
			if err != nil || !(q >= 0 && q <= 1) {
				return 0
			}
			return q
		}
	}
	return 1
}

// send answers with a body that is whole, with its ETag, or 304 if whoever asks has it.
func (c *call) send(status int, contentType string, body []byte) error {
	h := c.w.Header()
	h.Set("Content-Type", contentType)
	if status == http.StatusOK {
		tag := etag(body)
		h.Set("ETag", tag)
		if read(c.r) && tagged(c.r.Header.Values("If-None-Match"), tag, true) {
			h.Del("Content-Type")
			c.w.WriteHeader(http.StatusNotModified)
			return nil
		}
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	c.w.WriteHeader(status)
	if c.r.Method != http.MethodHead {
		_, _ = c.w.Write(body) // whoever asked is gone
	}
	return nil
}

func read(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }

// sendJSON answers with a document, if JSON is accepted.
func (c *call) sendJSON(status int, v any) error {
	if _, err := c.accept(typeJSON); err != nil {
		return err
	}
	body, err := document(v)
	if err != nil {
		return err
	}
	return c.send(status, typeJSON, body)
}

// document is the JSON of an answer, with a line's end.
func document(v any) ([]byte, error) {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// etag is a strong validator: half of the SHA-256 of a body.
func etag(body []byte) string {
	sum := sha256.Sum256(body)
	return `"` + hex.EncodeToString(sum[:16]) + `"`
}

// tagged tells whether one of the tags of a header is the one given, or "*". Weak tags count for reading alone (RFC 9110
// section 13.1).
func tagged(header []string, tag string, weak bool) bool {
	for _, line := range header {
		for t := range strings.SplitSeq(line, ",") {
			t = strings.TrimSpace(t)
			if weak {
				t = strings.TrimPrefix(t, "W/")
			}
			if t == "*" || t == tag {
				return true
			}
		}
	}
	return false
}

// deadline gives an answer that is sent in pieces the time to be sent.
func (c *call) deadline() {
	// A server that cannot do it has no deadline that would be too short.
	_ = http.NewResponseController(c.w).SetWriteDeadline(time.Now().Add(WriteTimeout))
}

// bodyType is the media type of the body, one of those given.
func (c *call) bodyType(taken ...string) (string, error) {
	t, params, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err == nil && (params["charset"] == "" || strings.EqualFold(params["charset"], "utf-8")) {
		if slices.Contains(taken, t) {
			return t, nil
		}
	}
	return "", problem(http.StatusUnsupportedMediaType, "the body has to be %s in UTF-8, and its Content-Type must say so",
		strings.Join(taken, " or "))
}
