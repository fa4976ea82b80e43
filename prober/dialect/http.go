package dialect

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// reply is one HTTP response.
type reply struct {
	code   int
	header http.Header
	body   []byte
	// cut tells that the body goes on; kept that the server takes another request on this connection.
	cut, kept bool
}

// exchange takes HTTP/1 responses out of what a server says on one connection. It keeps at most MaxSession bytes; of a
// longer stream the begin is judged.
type exchange struct {
	buf     []byte
	total   int
	scanned int    // how much of buf holds no end of a head
	head    int    // how long the head in buf is, 0 if it is not yet whole
	reply   reply  // what stands in it
	length  int64  // of the body, or one of the lengths that are not told
	chunk   int    // where in buf the next chunk begins, counted from the body
	chunks  []byte // the chunks before it
}

// feed takes the next bytes. full tells that no more are taken.
func (e *exchange) feed(b []byte) (full bool) {
	room := MaxSession - e.total
	full = len(b) >= room
	b = b[:min(len(b), room)]
	e.total += len(b)
	e.buf = append(e.buf, b...)
	return full
}

// errHead is returned for what is no head of an HTTP response.
var errHead = errors.New("no HTTP response")

// next gives the next response; ok is false if it is not yet whole. At the end, one that is cut is given, too.
func (e *exchange) next(end bool) (r reply, ok bool, err error) {
	for {
		if ok, err := e.readHead(); !ok {
			return reply{}, false, err
		}
		r, head, length := e.reply, e.head, e.length
		if r.code < 200 && r.code != http.StatusSwitchingProtocols { // RFC 9110 section 15.2: an interim response
			e.drop(head)
			continue
		}
		body := e.buf[head:]
		switch {
		case r.code == http.StatusSwitchingProtocols, r.code == http.StatusNoContent, r.code == http.StatusNotModified:
			body = nil
		case length == chunked:
			switch whole, err := e.readChunks(body); {
			case err != nil:
				return reply{}, false, err
			case !whole && !end:
				return reply{}, false, nil
			case !whole:
				_, begun, _ := bytes.Cut(body[e.chunk:], []byte("\n"))
				r.body, r.cut = append(e.chunks, begun...), true
				e.drop(len(e.buf))
				return r, true, nil
			default:
				r.body = e.chunks
				e.drop(head + e.chunk)
				return r, true, nil
			}
		case length == untilClose:
			if !end {
				return reply{}, false, nil
			}
		case int64(len(body)) < length:
			if !end {
				return reply{}, false, nil
			}
			r.cut = true
		default:
			body = body[:length]
		}
		r.body = bytes.Clone(body)
		e.drop(head + len(body))
		return r, true, nil
	}
}

// readHead reads the head, if it is whole and was not read yet.
func (e *exchange) readHead() (whole bool, err error) {
	for i := e.scanned; i < len(e.buf) && e.head == 0; i++ {
		if e.buf[i] != '\n' {
			continue
		}
		end := i + 1
		switch rest := e.buf[end:]; {
		case bytes.HasPrefix(rest, []byte("\n")):
			end++
		case bytes.HasPrefix(rest, []byte("\r\n")):
			end += 2
		default:
			continue
		}
		if e.reply, e.length, err = parseHead(e.buf[:end]); err != nil {
			return false, err
		}
		e.head = end
	}
	e.scanned = max(0, len(e.buf)-len("\n\r"))
	return e.head > 0, nil
}

// drop forgets what was taken.
func (e *exchange) drop(n int) {
	e.buf = append(e.buf[:0], e.buf[n:]...)
	e.scanned, e.head, e.chunk, e.chunks = 0, 0, 0, nil
}

// mostChunkLine bounds the size line of a chunk, and the trailer, in bytes: both are read anew when more of them comes.
const mostChunkLine = 1 << 10

// errChunk is returned for a chunked body that is none.
var errChunk = errors.New("no chunk")

// readChunks goes on reading a chunked body (RFC 9112 section 7.1); whole tells that it is at the end, behind the trailer.
func (e *exchange) readChunks(body []byte) (whole bool, err error) {
	for {
		rest := body[e.chunk:]
		end := bytes.IndexByte(rest[:min(len(rest), mostChunkLine)], '\n')
		switch {
		case end < 0 && len(rest) >= mostChunkLine:
			return false, errChunk
		case end < 0:
			return false, nil
		}
		next := e.chunk + end + 1
		line, _, _ := bytes.Cut(body[e.chunk:next], []byte(";"))
		size, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 16, 31)
		if err != nil {
			return false, fmt.Errorf("%w: %w", errChunk, err)
		}
		if size == 0 {
			trailer := body[next:]
			for {
				end := bytes.IndexByte(trailer, '\n')
				switch {
				case len(body)-len(trailer)-next+max(end, 0) >= mostChunkLine, end < 0 && len(body)-next >= mostChunkLine:
					return false, errChunk
				case end < 0:
					return false, nil
				}
				blank := len(bytes.TrimSpace(trailer[:end])) == 0
				trailer = trailer[end+1:]
				if blank {
					e.chunk = len(body) - len(trailer)
					return true, nil
				}
			}
		}
		data := body[next:]
		if uint64(len(data)) <= size {
			return false, nil
		}
		behind, ok := bytes.CutPrefix(bytes.TrimPrefix(data[size:], []byte("\r")), []byte("\n"))
		if !ok {
			if len(data) < int(size)+len("\r\n") && data[size] == '\r' {
				return false, nil
			}
			return false, errChunk
		}
		e.chunks = append(e.chunks, data[:size]...)
		e.chunk = len(body) - len(behind)
	}
}

// Lengths of a body that are not told as a number.
const (
	untilClose = -1
	chunked    = -2
)

// parseHead reads the head of a response and how long its body is. The body of a response in another encoding than
// identity, for which we did not ask, is not read: its length is 0.
func parseHead(head []byte) (r reply, length int64, err error) {
	response, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(head)), nil)
	if err != nil {
		return reply{}, 0, fmt.Errorf("%w: %w", errHead, err)
	}
	_ = response.Body.Close() // there is none behind the head
	r = reply{code: response.StatusCode, header: response.Header, kept: !response.Close && response.ProtoAtLeast(1, 1)}
	length = response.ContentLength
	if len(response.TransferEncoding) > 0 {
		length = chunked
	}
	if encoding := r.header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		length, r.kept = 0, false
	}
	return r, max(length, chunked), nil
}

// dialogue is a Session in HTTP/1.1: requests, each after the response to the one before.
type dialogue struct {
	exchange
	first []byte
	// judge judges a response. It gives the next request, nil if there is nothing more to ask.
	judge   func(d *dialogue, r reply) []byte
	finding Finding
	over    bool
}

// Open gives the first request.
func (d *dialogue) Open() []byte { return d.first }

// Take judges each response that is whole.
func (d *dialogue) Take(b []byte) (say []byte, done bool) {
	if d.over {
		return nil, true
	}
	full := d.feed(b)
	say = d.advance()
	if full {
		d.End()
	}
	return say, d.over
}

// advance judges what is whole and gives what is to be said next.
func (d *dialogue) advance() (say []byte) {
	for !d.over {
		r, ok, err := d.next(false)
		if err == nil && !ok {
			break
		}
		var more []byte
		if err == nil {
			more = d.judge(d, r)
		}
		d.over = more == nil
		say = append(say, more...)
	}
	return say
}

// End judges a response that ends with the connection, or is cut.
func (d *dialogue) End() {
	if d.over {
		return
	}
	d.over = true
	if r, ok, err := d.next(true); ok && err == nil {
		d.judge(d, r)
	}
}

// Finding is what was found so far.
func (d *dialogue) Finding() Finding { return d.finding }

// hostPort gives the value of the Host header.
func hostPort(t Target) string { return net.JoinHostPort(t.Host, t.Port) }

// post gives a POST of a JSON text. There is no authorization in it: nothing is tried out on anybody's node.
func post(t Target, agent, path, header, body string) []byte {
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\nAccept: */*\r\nAccept-Encoding: identity\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n%s\r\n%s", path, hostPort(t), t.agent(agent), len(body), header, body)
}

// lastRequest asks the server to close when it has answered.
const lastRequest = "Connection: close\r\n"

// getBlockTemplate is BIP 22 and 23 over HTTP, which coin daemons speak with mining software. Who answers is a node: pools
// of this kind are long gone, and nothing tells them apart.
func getBlockTemplate() Dialect {
	return Dialect{
		Name: GetBlockTemplate, HTTP: true,
		Session: func(t Target) Session {
			return &dialogue{
				first: post(t, stratumAgent, "/", lastRequest, `{"jsonrpc":"2.0","id":1,"method":"getblocktemplate","params":[{"capabilities":`+
					`["coinbasetxn","coinbasevalue","longpoll","workid"],"rules":["segwit"]}]}`),
				judge: func(d *dialogue, r reply) []byte {
					d.finding = judgeTemplate(r)
					return nil
				},
			}
		},
	}
}

// nodeRealm finds the realms in which coin daemons ask for a password: bitcoind and its kin, and those written in Go.
var nodeRealm = regexp.MustCompile(`^(?i:Basic) +realm="(jsonrpc|(?:btc|dcr|bch|ltc)d RPC)"`)

// judgeTemplate grades the answer to getblocktemplate. A template of a real node is longer than what is read of it, so one
// that is cut counts, too, if it came as far as a whole transaction.
func judgeTemplate(r reply) Finding {
	if realm := nodeRealm.FindStringSubmatch(r.header.Get("WWW-Authenticate")); r.code == http.StatusUnauthorized && realm != nil {
		return Finding{
			Level: Strong, Node: true, Dialect: GetBlockTemplate,
			Summary: "HTTP 401 with the realm of a coin's node: " + Quote([]byte(realm[1]), 32),
		}
	}
	result, failure, whole := partialResult(r.body)
	if !whole && !r.cut {
		return Finding{}
	}
	if _, text, ok := errorCode(failure); ok && strings.HasPrefix(text, "getblocktemplate must be called with") {
		return Finding{
			Level: Strong, Node: true, Dialect: GetBlockTemplate,
			Summary: "a coin's node wants other rules for its template: " + Quote([]byte(text), 128),
		}
	}
	height, _ := unsigned(result["height"])
	transactions, isList := array(result["transactions"], 0, MaxSession)
	_, isNumbered := integer(result["version"])
	switch {
	case !isHex(result["previousblockhash"], 64, 64):
		return Finding{}
	case whole && height > 0 && isHex(result["bits"], 8, 8) && (isHex(result["target"], 64, 64) || isList) &&
		(isNumber(result["coinbasevalue"]) || isTransaction(result["coinbasetxn"])):
	case r.cut && (isNumbered || height > 0) && len(transactions) > 0 && isTransaction(transactions[0]):
	default:
		return Finding{}
	}
	f := Finding{
		Level: Proof, Node: true, Dialect: GetBlockTemplate, Coin: "bitcoin-family",
		Summary: "a block template: the server is a coin's node",
	}
	f.Job.Height = height
	f.Job.PreviousHash, _ = result["previousblockhash"].(string)
	return f
}

// isTransaction tells a transaction of a template (BIP 22): its data, its hash, and what depends on it or its fee.
func isTransaction(v any) bool {
	t, _ := v.(map[string]any)
	_, isList := t["depends"].([]any)
	return isHex(t["data"], 2, mostHex) && (isHex(t["hash"], 64, 64) || isHex(t["txid"], 64, 64)) && (isList || isNumber(t["fee"]))
}

// partialResult reads the members of the result, and the error, of a JSON-RPC answer that may be cut. Of the transactions
// it keeps the first. whole tells that nothing is missing and nothing follows.
func partialResult(body []byte) (result map[string]any, failure any, whole bool) {
	if depth(body) > MaxDepth {
		return nil, nil, false
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	result = make(map[string]any)
	whole = eachMember(dec, func(name string) bool {
		switch name {
		case "result":
			return eachMember(dec, func(name string) bool {
				if name == "transactions" {
					first, ok := firstElement(dec)
					result[name] = first
					return ok
				}
				return decode(dec, name, result)
			})
		case "error":
			o := make(map[string]any)
			ok := decode(dec, name, o)
			failure = o[name]
			return ok
		}
		return decode(dec, name, make(map[string]any))
	})
	return result, failure, whole && len(bytes.Trim(body[dec.InputOffset():], blanks)) == 0
}

// decode reads the value of a member; ok is false if it is cut or wrong.
func decode(dec *json.Decoder, name string, into map[string]any) (ok bool) {
	var v any
	if err := dec.Decode(&v); err != nil {
		return false
	}
	into[name] = v
	return true
}

// eachMember goes through an object; value has to read the value of the member that is named, and ends it all with false.
// The null of an absent result has no members.
func eachMember(dec *json.Decoder, value func(name string) bool) (whole bool) {
	token, err := dec.Token()
	if err != nil || token != json.Delim('{') {
		return err == nil && token == nil
	}
	for dec.More() {
		name, err := dec.Token()
		text, ok := name.(string)
		if err != nil || !ok || !value(text) {
			return false
		}
	}
	_, err = dec.Token()
	return err == nil
}

// firstElement goes through an array and gives at most its first element.
func firstElement(dec *json.Decoder) (first []any, whole bool) {
	first = []any{}
	if token, err := dec.Token(); err != nil || token != json.Delim('[') {
		return nil, false
	}
	for dec.More() {
		var v any
		if err := dec.Decode(&v); err != nil {
			return first, false
		}
		if len(first) == 0 {
			first = append(first, v)
		}
	}
	_, err := dec.Token()
	return first, err == nil
}

// getWork is the oldest way to mine: bitcoind's getwork over HTTP, with which pools began, and which some daemons still
// have.
func getWork() Dialect {
	return Dialect{
		Name: GetWork, HTTP: true,
		Session: func(t Target) Session {
			return &dialogue{
				first: post(t, stratumAgent, "/", "X-Mining-Extensions: midstate\r\n"+lastRequest,
					`{"jsonrpc":"2.0","id":1,"method":"getwork","params":[]}`),
				judge: func(d *dialogue, r reply) []byte {
					d.finding = judgeWork(r)
					return nil
				},
			}
		},
	}
}

// judgeWork grades the answer to getwork. The headers are what only pools send beside the work.
func judgeWork(r reply) Finding {
	m, ok := parse(bytes.Trim(r.body, blanks))
	work, _ := m.result.(map[string]any)
	if !ok || !m.isAnswer() || !isHeaderData(work["data"]) || !isHex(work["target"], 64, 64) {
		return Finding{}
	}
	f := Finding{
		Level: Proof, Node: true, Dialect: GetWork, Coin: "bitcoin-family",
		Summary: "work of data and target without a pool's headers: the server is a coin's node",
	}
	data, _ := work["data"].(string)
	limit, _ := work["target"].(string)
	f.Job.PreviousHash, f.Job.Difficulty = data[8:][:64], hashesPer(reversed(limit))
	for _, name := range []string{"X-Stratum", "X-Long-Polling", "X-Roll-NTime", "X-Mining-Hashrate"} {
		if value := r.header.Get(name); value != "" {
			f.Node = false
			f.Summary = "work of data and target with a pool's header " + name + ": " + Quote([]byte(value), 128)
			break
		}
	}
	return f
}

// isHeaderData tells getwork's data: a block header padded for its hash, so that it ends with the header's length in bits:
// 80 bytes for SHA-256, each word swapped or not, and Decred's 180 for BLAKE-256.
func isHeaderData(v any) bool {
	data, _ := v.(string)
	switch {
	case isHex(v, 256, 256):
		return strings.HasSuffix(data, "0000000080020000") || strings.HasSuffix(data, "0000000000000280")
	case isHex(v, 384, 384):
		return strings.HasSuffix(strings.ToLower(data), "00000000000005a0")
	}
	return false
}

// reversed gives hex with its bytes in the other order.
func reversed(digits string) string {
	b, err := hex.DecodeString(digits)
	if err != nil {
		return ""
	}
	slices.Reverse(b)
	return hex.EncodeToString(b)
}

// ethereumGetWork is Ethereum's getWork over HTTP, with the account in the path for pools and without for nodes.
func ethereumGetWork() Dialect {
	return Dialect{
		Name: EthereumGetWork, HTTP: true,
		Session: func(t Target) Session {
			const work = `{"jsonrpc":"2.0","id":1,"method":"eth_getWork","params":[]}`
			const block = `{"jsonrpc":"2.0","id":2,"method":"eth_blockNumber","params":[]}`
			path, asked := "/"+nobodysAccount, false
			return &dialogue{
				first: post(t, ethereumAgent, path, "", work),
				judge: func(d *dialogue, r reply) []byte {
					m, ok := parse(bytes.Trim(r.body, blanks))
					switch ok = ok && m.isAnswer(); {
					case asked:
						d.finding = judgeOwner(&m, ok, d.finding)
						return nil
					case ok && isWork(m.result):
						d.finding = Finding{
							Level: Strong, Dialect: EthereumGetWork, Coin: "ethereum-family",
							Job:     ethereumJob(m.result),
							Summary: "work over HTTP, from a pool or a node",
						}
						asked = true
						if r.kept {
							return post(t, ethereumAgent, path, lastRequest, block)
						}
					default:
						if f := judgeNoWork(&m, ok); f.Level > d.finding.Level {
							d.finding = f
						}
						if path != "/" && r.kept {
							path = "/"
							return post(t, ethereumAgent, path, "", work)
						}
					}
					return nil
				},
			}
		},
	}
}

// ethereumJob tells what the work of eth_getWork says of the block: the hash of its header, which is the same for all
// miners, the target, and with some pools the number.
func ethereumJob(v any) Job {
	work, ok := array(v, 3, 4)
	if !ok {
		return Job{}
	}
	digits := make([]string, len(work))
	for i := range work {
		s, _ := work[i].(string)
		digits[i] = strings.TrimPrefix(s, "0x")
	}
	j := Job{Difficulty: hashesPer(digits[2]), Template: template(digits[0])}
	if len(digits) > 3 {
		if height, err := strconv.ParseUint(digits[3], 16, 64); err == nil {
			j.Height = height
		}
	}
	return j
}

// ethereumAgent is the agent of the mining program that spoke this dialect last.
const ethereumAgent = "ethminer/0.19.0"

// judgeNoWork grades an answer to eth_getWork that is an error: those of open-ethereum-pool (ProxyServer) and geth's.
func judgeNoWork(m *message, ok bool) Finding {
	code, text, isError := errorCode(m.err)
	f := Finding{Level: Strong, Dialect: EthereumGetWork, Coin: "ethereum-family"}
	switch {
	case !ok || !isError || m.result != nil:
		return Finding{}
	case code == 0 && text == "Work not ready", code == -1 && (text == "Work not ready" || text == "Invalid login" || text == "You are blacklisted"):
		f.Summary = "the work was refused as an Ethereum pool does: " + Quote([]byte(text), 64)
	case code == -32000 && text == "no mining work available yet":
		f.Node, f.Summary = true, "a node of Ethereum's kin has no work: "+Quote([]byte(text), 64)
	default:
		return Finding{}
	}
	return f
}

// judgeOwner tells a pool from a node by the answer to eth_blockNumber: a node that hands out work knows its block, and a
// pool knows of no such method.
func judgeOwner(m *message, ok bool, work Finding) Finding {
	number, _ := m.result.(string)
	digits, isQuantity := strings.CutPrefix(number, "0x")
	code, _, isError := errorCode(m.err)
	switch {
	case ok && isQuantity && digits != "" && len(digits) <= 16 && hexDigits(digits):
		work.Level, work.Node = Proof, true
		work.Summary = "work over HTTP, and a block number: the server is a coin's node"
	case ok && isError && m.result == nil && (code == -3 || code == -32601):
		work.Level = Proof
		work.Summary = "work over HTTP from a server that knows no block number, as only a pool"
	}
	return work
}
