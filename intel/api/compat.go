package api

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/csv"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/accounts"
	"github.com/minecanary/minecanary/intel/history"
	"github.com/minecanary/minecanary/intel/lookup"
)

// MaxCompatHistory is how many rows /miningProp/jsonHistoryAll gives at most.
const MaxCompatHistory = 1_000_000

// Compat is the handler of the paths that sMaSheD had, for programs that read it: the same tables with the same columns,
// made of our catalogue and history. docs/api.md says where they differ.
func (a *API) Compat() http.Handler {
	ops := []operation{{"GET", "/content", accounts.Viewer, nil, (*call).smashedContent}}
	for path, handle := range map[string]func(*call) error{
		"/pool/json":                 func(c *call) error { return c.smashed(func(s *smashed) any { return s.Pools }) },
		"/server/json":               func(c *call) error { return c.smashed(func(s *smashed) any { return s.Servers }) },
		"/crypto/json":               func(c *call) error { return c.smashed(func(s *smashed) any { return s.Cryptos }) },
		"/port/json":                 func(c *call) error { return c.smashed(func(s *smashed) any { return s.Ports }) },
		"/address/json":              func(c *call) error { return c.smashed(func(s *smashed) any { return s.Addresses }) },
		"/miningProp/json":           func(c *call) error { return c.smashed(func(s *smashed) any { return s.Props }) },
		"/miningProp/{id}/json":      (*call).smashedHistory,
		"/miningProp/jsonHistoryAll": (*call).smashedHistoryAll,
	} {
		ops = append(ops, operation{"GET", path, accounts.Viewer, []string{"_"}, handle}) // _ keeps caches away
	}
	mux := a.serve(ops)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.enter(w, r, mux) })
}

// The rows as sMaSheD wrote them. Its times were the database's; ours are when it was read, or seen.
type (
	smashedTimes struct {
		Created *smashedTime `json:"created_at"`
		Updated *smashedTime `json:"updated_at"`
	}
	smashedPool struct {
		ID   uint32 `json:"id"`
		Name string `json:"name"`
		URL  string `json:"url"`
		smashedTimes
	}
	smashedServer struct {
		ID     uint32 `json:"id"`
		FQDN   string `json:"fqdn"`
		PoolID uint32 `json:"pool_id"`
		smashedTimes
	}
	smashedCrypto struct {
		ID           uint32 `json:"id"`
		Name         string `json:"name"`
		Abbreviation string `json:"abbreviation"`
		URL          string `json:"url"`
		smashedTimes
	}
	smashedPort struct {
		ID       uint32 `json:"id"`
		Number   uint16 `json:"number"`
		ServerID uint32 `json:"server_id"`
		CryptoID uint32 `json:"crypto_id"`
		smashedTimes
	}
	smashedAddress struct {
		ID       uint32 `json:"id"`
		Address  string `json:"address"`
		ServerID uint32 `json:"server_id"`
		smashedTimes
	}
	smashedProp struct {
		ID       uint32 `json:"id"`
		ServerID uint32 `json:"server_id"`
		Address  string `json:"address"`
		Protocol string `json:"protocol"`
		Port     uint16 `json:"port"`
		Status   int    `json:"status"`
		Reason   string `json:"reason"`
		smashedTimes
		endpoint minecanary.Endpoint
	}
	smashedHistory struct {
		ID     uint32 `json:"id"`
		PropID uint32 `json:"miningProp_id"`
		Status int    `json:"status"`
		Reason string `json:"reason"`
		smashedTimes
	}
)

// The status of a mining property.
const (
	smashedDown   = 0 // nobody answered
	smashedUp     = 1 // a pool did
	smashedListen = 2 // somebody else did
)

func smashedStatus(s minecanary.VerdictStatus) int {
	switch s {
	case minecanary.Confirmed:
		return smashedUp
	case minecanary.Node, minecanary.NotPool:
		return smashedListen
	}
	return smashedDown
}

// smashedTime is a time as its database wrote it.
type smashedTime time.Time

// MarshalJSON implements json.Marshaler.
func (t smashedTime) MarshalJSON() ([]byte, error) {
	return json.Marshal(time.Time(t).UTC().Format(time.DateTime))
}

// dated gives the times of a row; no time is null.
func dated(created, updated time.Time) smashedTimes {
	var t smashedTimes
	if !created.IsZero() {
		c := smashedTime(created)
		t.Created = &c
	}
	if !updated.IsZero() {
		u := smashedTime(updated)
		t.Updated = &u
	}
	return t
}

// smashed are all tables but the history.
type smashed struct {
	Pools     []smashedPool
	Servers   []smashedServer
	Cryptos   []smashedCrypto
	Ports     []smashedPort
	Addresses []smashedAddress
	Props     []smashedProp
	content   [][]string
}

// numbers gives rows numbers from 1 to 2^31-1 that stay the same as long as the row does: 31 bits of the SHA-256 of what
// the row is. Of two rows that would have the same number the later one gets the next.
type numbers map[uint32]bool

func (n numbers) of(parts ...string) uint32 {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p + "\x00")) // a hash takes all
	}
	id := binary.BigEndian.Uint32(h.Sum(nil)) &^ (1 << 31)
	for id == 0 || n[id] {
		id = (id + 1) &^ (1 << 31)
	}
	n[id] = true
	return id
}

// tables makes the tables from the catalogue and the index, in an order that does not change.
func (c *call) tables() *smashed {
	s := &smashed{
		Pools: []smashedPool{}, Servers: []smashedServer{}, Cryptos: []smashedCrypto{}, Ports: []smashedPort{},
		Addresses: []smashedAddress{}, Props: []smashedProp{},
	}
	now := c.cfg.Register.Current()
	pools, coins := map[string]uint32{}, map[string]uint32{}
	ids := numbers{}
	for _, p := range now.Pools() {
		pools[p.ID] = ids.of("pool", p.ID)
		s.Pools = append(s.Pools, smashedPool{pools[p.ID], p.Name, p.URL, dated(p.Day(), p.Day())})
	}
	ids = numbers{}
	urls := map[string]string{}
	for _, coin := range now.Coins() {
		coins[coin.Symbol], urls[coin.Symbol] = ids.of("crypto", coin.Symbol), coin.URL
		s.Cryptos = append(s.Cryptos, smashedCrypto{coins[coin.Symbol], coin.Name, coin.Symbol, coin.URL, dated(coin.Day(), coin.Day())})
	}
	if len(now.Mined("")) > 0 {
		coins[""] = ids.of("crypto", "") // of ports whose coin nobody knows: each of sMaSheD's has one
		s.Cryptos = append(s.Cryptos, smashedCrypto{coins[""], "unknown", "", "", dated(time.Time{}, time.Time{})})
	}
	servers, ports, addresses, props, rows := numbers{}, numbers{}, numbers{}, numbers{}, numbers{}
	for _, host := range now.Hosts() {
		first := now.Host(host)[0]
		server := servers.of("server", host)
		s.Servers = append(s.Servers, smashedServer{server, host, pools[first.Pool.ID], dated(first.Server.Day(), first.Server.Day())})
		done := map[smashedPort]bool{}
		for _, r := range now.Host(host) {
			key := smashedPort{Number: r.Endpoint.Port, CryptoID: coins[r.Endpoint.Coin]}
			if !done[key] && key.Number != 0 { // a server may stand without a port
				done[key] = true
				id := ports.of("port", host, strconv.Itoa(int(r.Endpoint.Port)), r.Endpoint.Coin)
				s.Ports = append(s.Ports, smashedPort{id, key.Number, server, key.CryptoID, dated(r.Endpoint.Day(), r.Endpoint.Day())})
			}
		}
		matches := c.matches(host, 0)
		for _, a := range addressRows(matches) {
			id := addresses.of("address", host, a.Address.String())
			s.Addresses = append(s.Addresses, smashedAddress{id, a.Address.String(), server, dated(a.From, a.LastSeen)})
		}
		asked := map[smashedProp]bool{}
		for _, m := range matches {
			if !m.Address.IsValid() || m.Port == 0 {
				continue
			}
			port := strconv.Itoa(int(m.Port))
			s.content = append(s.content, []string{
				strconv.Itoa(int(rows.of("content", m.Pool, host, m.Address.String(), port, m.Coin))), m.Address.String(), host, m.PoolName,
				first.Pool.URL, port, m.CoinName, m.Coin, urls[m.Coin],
			})
			key := smashedProp{Address: m.Address.String(), Port: m.Port, Protocol: smashedProtocol(m)}
			if m.Status == "" || m.Status == minecanary.Unknown || asked[key] {
				continue
			}
			asked[key] = true
			key.endpoint = minecanary.NewEndpoint(m.Address, m.Port, minecanary.TCP)
			key.ID, key.ServerID = props.of("miningProp", host, key.Address, port, key.Protocol), server
			key.Status, key.Reason, key.smashedTimes = smashedStatus(m.Status), m.Reason, dated(m.FirstSeen, m.LastSeen)
			s.Props = append(s.Props, key)
		}
	}
	return s
}

// smashedProtocol is the protocol of an endpoint in sMaSheD's words.
func smashedProtocol(m lookup.Match) string {
	switch m.Dialect {
	case "getblocktemplate", "getwork", "ethereum-getwork":
		return "getblocktemplate"
	}
	return "stratum"
}

func (c *call) smashed(table func(*smashed) any) error {
	return c.sendJSON(http.StatusOK, table(c.tables()))
}

// smashedContent is the table that sMaSheD had for agents: addresses, servers, pools, ports and coins joined. Two columns
// are called url, as they were: the pool's and the coin's.
func (c *call) smashedContent() error {
	if _, err := c.accept(typeCSV); err != nil {
		return err
	}
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.UseCRLF = true
	if err := w.Write([]string{"id", "address", "fqdn", "pool_name", "url", "port_number", "crypto_name", "abbreviation", "url"}); err != nil {
		return err
	}
	for _, row := range c.tables().content {
		for i := range row {
			row[i] = defuse(row[i])
		}
		if err := w.Write(row); err != nil {
			return err
		}
	}
	if w.Flush(); w.Error() != nil {
		return w.Error()
	}
	c.w.Header().Set("Content-Disposition", `attachment; filename="content.csv"`)
	return c.send(http.StatusOK, typeCSVHeader, b.Bytes())
}

// pastOf gives the history of a mining property: a row for each stretch of time, not for each question.
func (c *call) pastOf(p *smashedProp) ([]smashedHistory, error) {
	rows := []smashedHistory{}
	err := c.view(func(v *history.View) error {
		states, err := v.Endpoint(p.endpoint, history.Query{})
		if err != nil {
			return err
		}
		for _, s := range states {
			rows = append(rows, smashedHistory{0, p.ID, smashedStatus(s.Status), s.LastReason, dated(s.From, s.LastSeen)})
		}
		reached, err := v.Availability(p.endpoint, history.Query{})
		for _, r := range reached {
			if !r.Answered {
				rows = append(rows, smashedHistory{0, p.ID, smashedDown, r.LastReason, dated(r.From, r.LastSeen)})
			}
		}
		return err
	})
	slices.SortStableFunc(rows, func(a, b smashedHistory) int {
		return cmp.Or(time.Time(*a.Created).Compare(time.Time(*b.Created)), cmp.Compare(a.Status, b.Status))
	})
	ids := numbers{}
	for i := range rows {
		rows[i].ID = ids.of("history", strconv.Itoa(int(p.ID)), strconv.Itoa(rows[i].Status), time.Time(*rows[i].Created).UTC().Format(time.RFC3339Nano))
	}
	return rows, err
}

func (c *call) smashedHistory() error {
	props := c.tables().Props
	i := slices.IndexFunc(props, func(p smashedProp) bool { return strconv.Itoa(int(p.ID)) == c.r.PathValue("id") })
	if i < 0 {
		return problem(http.StatusNotFound, "there is no such mining property")
	}
	rows, err := c.pastOf(&props[i])
	if err != nil {
		return err
	}
	return c.sendJSON(http.StatusOK, rows)
}

// smashedHistoryAll sends the history of all mining properties while it reads it, at most MaxCompatHistory rows.
func (c *call) smashedHistoryAll() error {
	if _, err := c.accept(typeJSON); err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", typeJSON)
	if c.r.Method == http.MethodHead {
		return nil
	}
	c.deadline()
	out := bufio.NewWriterSize(c.w, 64<<10)
	enc := json.NewEncoder(out)
	_ = out.WriteByte('[') // the last write tells
	n := 0
	props := c.tables().Props
	for i := range props {
		rows, err := c.pastOf(&props[i])
		if err != nil {
			if n == 0 && out.Buffered() > 0 {
				return err
			}
			panic(http.ErrAbortHandler) // half an answer must not look like a whole one
		}
		for j := range rows {
			if n++; n > MaxCompatHistory {
				break
			}
			if n > 1 {
				_ = out.WriteByte(',') // the next write tells
			}
			if err := enc.Encode(&rows[j]); err != nil {
				return nil // nobody listens any more
			}
		}
	}
	_, _ = out.WriteString("]\n")
	_ = out.Flush() // whoever asked is gone
	return nil
}
