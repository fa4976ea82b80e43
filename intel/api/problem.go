package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/minecanary/minecanary/intel/catalog"
)

// Problem is a refusal as RFC 9457 has it, of the type about:blank.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	// Detail is a sentence for people.
	Detail string `json:"detail,omitempty"`
	// Reasons are all that is wrong with a row.
	Reasons []string `json:"reasons,omitempty"`
	// Refused are the wrong rows of an import.
	Refused []catalog.Problem `json:"refused,omitempty"`
}

func problem(status int, format string, args ...any) *Problem {
	return &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: fmt.Sprintf(format, args...)}
}

// Error gives the detail.
func (p *Problem) Error() string { return p.Detail }

func (p *Problem) write(w http.ResponseWriter, r *http.Request) {
	body, err := json.Marshal(p)
	if err != nil { // strings and numbers always can be
		body = []byte("{}")
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // whoever asked is gone
	}
}

// maxQuoted bounds in bytes what is repeated of a request.
const maxQuoted = 80

// quote makes a text of somebody else printable and short.
func quote(s string) string {
	if len(s) > maxQuoted {
		s = s[:maxQuoted] + "…"
	}
	return strconv.QuoteToASCII(s)
}

// plain tells whether a text is UTF-8 of at most MaxText characters, all of which can be printed.
func plain(s string) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= MaxText &&
		!strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || unicode.Is(unicode.Bidi_Control, r) })
}
