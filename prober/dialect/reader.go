package dialect

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// MaxLine is the longest line of an answer, in bytes without the line end. Jobs of real pools have up to some 8 KiB.
const MaxLine = 32 << 10

// ErrLine is returned for a line longer than MaxLine; nothing that follows is read.
var ErrLine = errors.New("line too long")

// seen is what one connection has said so far and a dialect needs to remember.
type seen struct {
	session, target bool // ZIP 301: the answer to mining.subscribe, and mining.set_target
	nonces          bool // Kadena and Nervos: the answer to mining.subscribe
	difficulty      bool // mining.set_difficulty
	extranonce      bool // Kaspa: set_extranonce
	subscribed      bool // Stratum V1: the answer to mining.subscribe, with
	extranonces     int  // so many bytes of both extranonces together
	foreign         bool // a JSON-RPC 2.0 standard error
	versionTold     bool // we have said stratumVersion, which may come back
}

// Reader judges what a server says on one connection. The result does not depend on how the bytes are cut in segments.
// It holds at most MaxLine bytes. It is not safe for concurrent use.
type Reader struct {
	dialects []Dialect // nil until the first message: most connections wait for one
	buf      []byte
	sent     []string
	answers  int
	lines    int
	objects  int
	heard    bool // bytes came
	spoke    bool // bytes other than blanks came
	alien    bool // the first of them was no brace
	http     bool // everything from the first line on is an HTTP response, kept in buf
	best     Finding
	job      Job // what all messages together told of the work
	seen     seen
	err      error
}

// NewReader gives a Reader of a new connection.
func NewReader() *Reader { return &Reader{} }

// Sent tells what we said, so that an echo is known for what it is.
func (r *Reader) Sent(q Request) {
	if q.Method != "" {
		r.sent = append(r.sent, q.Method)
	}
	r.seen.versionTold = r.seen.versionTold || bytes.Contains(q.Line, []byte(stratumVersion))
}

// Answers is how many answers came, whatever they were: JSON-RPC answers, or one for all else that is a whole line
// and no notification.
func (r *Reader) Answers() int { return r.answers }

// Lines is how many whole lines came.
func (r *Reader) Lines() int { return r.lines }

// Objects is how many JSON objects came.
func (r *Reader) Objects() int { return r.objects }

// Switching tells that an HTTP server offers or takes up another protocol (101, 426), or that it can't answer for now what
// stands behind it (429, 502, 503, 504): what else it speaks is then unknown.
func (r *Reader) Switching() bool {
	return r.http && len(r.buf) > len("HTTP/1.1 101") &&
		slices.Contains([]string{"101", "426", "429", "502", "503", "504"}, string(r.buf[len("HTTP/1.1 "):][:3]))
}

// WantsTLS tells that an HTTP server says it speaks TLS here, in the words of nginx, of Go's server or of Apache.
func (r *Reader) WantsTLS() bool {
	return r.http && (bytes.Contains(r.buf, []byte("plain HTTP request was sent to HTTPS port")) ||
		bytes.Contains(r.buf, []byte("Client sent an HTTP request to an HTTPS server")) ||
		bytes.Contains(r.buf, []byte("speaking plain HTTP to an SSL-enabled server port")))
}

// Alien tells that the first thing said was no JSON object, whatever else it is: no dialect in lines begins so.
func (r *Reader) Alien() bool { return r.alien }

// HTTP tells that an HTTP response is coming; it is judged at the End, because its body may lack a line end.
func (r *Reader) HTTP() bool { return r.http }

// Finding is the best so far. Its Job is what all messages of the connection together told: the answer that proves a pool
// has no job, and the job that follows has no difficulty.
func (r *Reader) Finding() Finding {
	f := r.best
	if f.Level >= Strong {
		f.Job = r.job
	}
	return f
}

// Decided tells that nothing more needs to be heard: there is a proof that it is no pool, or that it is one, with its coin
// and a job. Proof that came unasked needs no job, so that nothing is asked any more.
func (r *Reader) Decided() bool {
	f := r.Finding()
	return f.Level == Negative || f.Level == Proof && f.Coin != "" && (f.Job.Template != "" || len(r.sent) == 0)
}

// Feed takes the next bytes; it does not keep b. It returns ErrLine when a line is too long: what was found before
// still holds.
func (r *Reader) Feed(b []byte) error {
	if r.err != nil {
		return r.err
	}
	if first := bytes.TrimSpace(b); !r.spoke && len(first) > 0 {
		r.spoke, r.alien = true, first[0] != '{'
	}
	r.heard = r.heard || len(b) > 0
	for len(b) > 0 {
		end := bytes.IndexByte(b, '\n')
		if r.http {
			end = -1
		}
		piece := b
		if end >= 0 {
			piece = b[:end]
		}
		if len(r.buf)+len(piece) > MaxLine {
			r.err = ErrLine
			return r.err
		}
		r.buf = append(r.buf, piece...)
		if end < 0 {
			break
		}
		b = b[end+1:]
		if r.lines == 0 && httpStatus.Match(r.buf) {
			r.http = true
			r.lines++
			r.answers++
			r.buf = append(r.buf, '\n')
			continue
		}
		r.line(r.buf)
		r.buf = r.buf[:0]
	}
	if r.lines == 0 && !r.http && isHTTP2(r.buf) {
		r.note(Finding{Level: Negative, Summary: "HTTP/2 SETTINGS: " + Quote(r.buf[:frameHeader], 64)})
	}
	return nil
}

// End tells that nothing more comes: an HTTP response, or a last line without line end, is judged.
func (r *Reader) End() Finding {
	switch {
	case r.http:
		r.note(judgeHTTP(r.buf))
	case r.err == nil && len(bytes.TrimSpace(r.buf)) > 0 && httpStatus.Match(r.buf):
		r.note(judgeHTTP(r.buf))
	case r.err == nil:
		r.line(r.buf)
	}
	r.buf, r.http = nil, false
	if r.heard {
		r.note(Finding{Level: Noise, Summary: "bytes that are no message"})
	}
	return r.Finding()
}

// note keeps the weightier finding, and what any tells of the work.
func (r *Reader) note(f Finding) {
	if f.Level >= Strong {
		r.job = enriched(r.job, f.Job)
	}
	if f.over(r.best) {
		r.best = f
	}
}

// line judges one line without its line end. Blank ones are padding.
func (r *Reader) line(line []byte) {
	line = bytes.Trim(line, blanks)
	if len(line) == 0 {
		return
	}
	r.lines++
	m, ok := parse(line)
	if !ok {
		r.answers++
		r.note(judgeText(line, r.lines == 1))
		return
	}
	r.objects++
	repeats := isGrinAnswer(&m) || isBeamResult(&m)
	if !m.hasMethod && !m.isPlaceholder() || repeats {
		r.answers++
	}
	for _, method := range r.sent {
		if m.hasMethod && !repeats && m.method == method {
			r.note(Finding{Level: Noise, Summary: "our own method came back: an echo"})
			return
		}
	}
	if r.dialects == nil {
		r.dialects = All()
	}
	for i := range r.dialects {
		if r.dialects[i].judge != nil {
			r.note(r.dialects[i].judge(&m, &r.seen))
		}
	}
	generic := judgeGeneric(&m)
	r.seen.foreign = r.seen.foreign || generic.Level == Foreign
	r.note(generic)
	r.note(Finding{Level: Noise, Summary: "JSON that fits no dialect: " + Quote(line, 128)})
}

// judgeGeneric grades messages that belong to no dialect.
func judgeGeneric(m *message) Finding {
	if m.hasMethod {
		// An Electrum server asks the client on its own: a request with an id.
		if name, _, ok := strings.Cut(m.method, "."); ok && m.id != nil &&
			(name == "blockchain" || name == "server" || name == "mempool") {
			return Finding{Level: Negative, Summary: "an Electrum server's request " + Quote([]byte(m.method), 64)}
		}
		return Finding{}
	}
	if m.err != nil {
		code, text, ok := errorCode(m.err)
		switch {
		case ok && (code == -32600 || code == -32601 || code == -32700):
			// JSON-RPC 2.0 section 5.1: invalid request, method not found, parse error.
			return Finding{Level: Foreign, Summary: fmt.Sprintf("JSON-RPC error %d: %s", code, Quote([]byte(text), 128))}
		case ok && (code == -3 && text == "Method not found" || code == -1 && (text == "Invalid method" || text == "Invalid login")):
			return Finding{Level: Weak, Summary: fmt.Sprintf("error %d as mining pools use it: %s", code, Quote([]byte(text), 128))}
		}
		return Finding{}
	}
	if m.result == true {
		return Finding{Level: Weak, Summary: "a bare result true"}
	}
	return Finding{}
}

var (
	httpStatus = regexp.MustCompile(`^HTTP/1\.[01] [1-5][0-9][0-9]`)
	// The first line of a server of RFC 4253 (SSH), of RFC 5321 or RFC 959 (SMTP, FTP), of RFC 3501 (IMAP), of RFC 1939
	// (POP), and the errors of RESP (Redis) to words that are no command.
	greetings = []struct {
		form *regexp.Regexp
		name string
	}{
		{regexp.MustCompile(`^SSH-[12]\.[0-9]+-`), "an SSH greeting"},
		{regexp.MustCompile(`^220[ -]`), "an SMTP or FTP greeting"},
		{regexp.MustCompile(`^\* (OK|PREAUTH|BYE)( |$)`), "an IMAP greeting"},
		{regexp.MustCompile(`^\+OK( |$)`), "a POP greeting"},
		{regexp.MustCompile(`^-(ERR|NOAUTH|DENIED|WRONGPASS)( |$)`), "a RESP error (Redis)"},
	}
)

// judgeText grades a line that is no JSON object. Greetings count only as the first line.
func judgeText(line []byte, first bool) Finding {
	if first {
		if isHTTP2(line) {
			return Finding{Level: Negative, Summary: "HTTP/2 SETTINGS: " + Quote(line[:frameHeader], 64)}
		}
		for _, g := range greetings {
			if g.form.Match(line) {
				return Finding{Level: Negative, Summary: g.name + ": " + Quote(line, 128)}
			}
		}
	}
	return Finding{Level: Noise, Summary: "a line that is no JSON object: " + Quote(line, 128)}
}

// judgeHTTP grades an HTTP response to a line of ours. node-cryptonote-pool's page is the one proof. Headers of getwork
// pools and an offer to switch protocols (426 is what a WebSocket pool answers, 101 what it goes on with) speak for
// nothing, because a pool may stand behind them.
func judgeHTTP(response []byte) Finding {
	text := strings.ReplaceAll(string(response), "\r\n", "\n")
	head, body, _ := strings.Cut(text, "\n\n")
	status, headers, _ := strings.Cut(head, "\n")
	code := status[len("HTTP/1.1 "):][:3]
	if code == "200" && strings.EqualFold(strings.TrimSpace(body), poolOnline) {
		return Finding{
			Level: Proof, Dialect: CryptoNote, Coin: "cryptonote-family",
			Job:     Job{Software: onlineSoftware},
			Summary: "HTTP 200 with the page of a CryptoNote pool: " + Quote([]byte(strings.TrimSpace(body)), 64),
		}
	}
	if code == "200" && strings.EqualFold(strings.TrimSpace(body), proxyOnline) {
		return Finding{
			Level: Strong, Dialect: CryptoNote, Proxy: true,
			Summary: "HTTP 200 with the page of a proxy of miners: " + Quote([]byte(strings.TrimSpace(body)), 64),
		}
	}
	for line := range strings.SplitSeq(headers, "\n") {
		name, _, _ := strings.Cut(line, ":")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "x-stratum", "x-long-polling", "x-roll-ntime", "x-mining-hashrate": // x-mining-extensions is what we say ourselves
			return Finding{Level: Strong, Summary: "HTTP with a getwork header " + Quote([]byte(line), 128)}
		}
	}
	if code == "101" || code == "426" {
		return Finding{Level: Noise, Summary: "HTTP that offers another protocol: " + Quote([]byte(status), 128)}
	}
	return Finding{Level: Negative, Summary: "an HTTP response: " + Quote([]byte(status), 128)}
}

// frameHeader is the length of an HTTP/2 frame's header.
const frameHeader = 9

// isHTTP2 tells the SETTINGS frame with which an HTTP/2 server begins (RFC 9113 sections 3.4 and 4.1): length a
// multiple of 6, type 4, no flags, stream 0.
func isHTTP2(b []byte) bool {
	if len(b) < frameHeader || b[0] != 0 || b[1] != 0 || b[2]%6 != 0 {
		return false
	}
	return bytes.Equal(b[3:frameHeader], []byte{4, 0, 0, 0, 0, 0})
}

// quoteJSON gives a JSON string.
func quoteJSON(s string) string {
	b, err := json.Marshal(s)
	if err != nil { // a string always has a JSON form
		return `""`
	}
	return string(b)
}
